"""The record of an installed folder: which bundle is loaded, and what the next one must satisfy.

The folder holds each bundle as `<sha256>.tin`, and `installed.json`, which names the current and
the previous one and says what was asked of them. A switch is one rename of that file.
"""

import os
from typing import TYPE_CHECKING, Annotated

from tinsmith_runtime.bundle.fields import Digest, Release
from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.record import Rule, frozen_dataclass, mismatch, parse_record, read_json

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "installed.json"
RECORD_VERSION = 2
"""What is written. Version 1 had no number, named the two bundles alone, and is read too."""

MAX_KEYS = 64
MAX_FAILED = 256
_MAX_RECORD_BYTES = 1 << 16
_FIRST_VERSION = {"current", "previous"}


def _at_most(count: int) -> Rule:
    return Rule(f"at most {count}", lambda found: len(found) <= count)


@frozen_dataclass(frozen=True)
class Trial:
    """What is noted of the current bundle until it is confirmed.

    Attributes:
        boots: how often `boot` has let it start; the time after, it goes back.
        release: of the bundle; a confirmation makes it the least that is installed after.
    """

    boots: Annotated[int, Rule("0 or 1", (0, 1).__contains__)]
    release: Release


@frozen_dataclass(frozen=True)
class Installation:
    """What `installed.json` says.

    Attributes:
        current: sha256 of the bundle that is loaded.
        previous: sha256 of the bundle that is gone back to; `None` if there is none.
        trusted_keys: the raw 32 bytes of public keys as hex digits: one of them signed whatever is
            installed; none if nobody ever gave one.
        release: the highest that was ever installed, or confirmed where there was a trial.
        failed: sha256 of the bundles that failed their trial, the last at the end.
        trial: of the current bundle; `None` if it is on none.
    """

    current: Digest
    previous: Digest | None
    trusted_keys: Annotated[tuple[Digest, ...], _at_most(MAX_KEYS)] = ()
    release: Release = 0
    failed: Annotated[tuple[Digest, ...], _at_most(MAX_FAILED)] = ()
    trial: Trial | None = None


def read_installation(folder: "str | Path") -> Installation | None:
    """Reads the record of a folder; `None` if nothing has been installed there.

    Raises:
        BundleError: the record is damaged, of a later version, or cannot be read.
    """
    try:
        data = read_regular(os.path.join(folder, RECORD), _MAX_RECORD_BYTES, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BundleError(f"{RECORD}: cannot be read: {error.strerror or error}") from error
    try:
        tree = read_json(data.decode("utf-8"))
        _take_version(tree)
        return parse_record(Installation, tree)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{RECORD}: {error}: remove the folder and install again") from error


def dump_installation(record: Installation) -> bytes:
    """Writes a record as JSON."""
    import json  # what is read needs neither
    from dataclasses import asdict

    tree = {"record_version": RECORD_VERSION, **asdict(record)}
    return (json.dumps(tree, indent=1) + "\n").encode()


def _take_version(tree: object) -> None:
    """Takes the version out of a record; its fields must be those of that version."""
    if not isinstance(tree, dict):
        return
    version = tree.pop("record_version", 1)
    if type(version) is not int or not 1 <= version <= RECORD_VERSION:
        raise BundleError(
            f"{RECORD}: {mismatch('record_version', f'1 to {RECORD_VERSION}', version)}: "
            "upgrade with: pip install --upgrade tinsmith-runtime"
        )
    if version == 1 and (later := sorted(tree.keys() - _FIRST_VERSION)):
        raise ValueError(mismatch("record_version", f"{RECORD_VERSION}, for {later[0]!r}", None))
