"""The record of an installed folder: which of its bundles is loaded, which one is kept.

The folder holds each bundle as `<sha256>.tin`, and `installed.json`, which names the current and
the previous one. Both change in the one rename of that file; that is all a switch is.
"""

from dataclasses import dataclass
from pathlib import Path

from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.manifest import Digest
from tinsmith_runtime.record import parse_record, read_json

RECORD = "installed.json"


@dataclass(frozen=True)
class Installation:
    """What `installed.json` says.

    Attributes:
        current: sha256 of the bundle that is loaded.
        previous: sha256 of the bundle that a rollback goes to; `None` after the first install.
    """

    current: Digest
    previous: Digest | None


def read_installation(folder: Path) -> Installation | None:
    """Reads the record of a folder; `None` if nothing has been installed there.

    Raises:
        BundleError: the record is damaged.
    """
    try:
        return parse_record(Installation, read_json((folder / RECORD).read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{RECORD}: {error}: remove the folder and install again") from error


def bundle_file(folder: Path, digest: str) -> Path:
    """Where an installed folder holds the bundle whose sha256 is `digest`."""
    return folder / f"{digest}.tin"
