"""Switching an installed folder from one record to the next, whenever the power goes.

A bundle is written whole and flushed to the disk before the record names it, and no bundle that the
record names is ever removed or written over while it is whole.
"""

import contextlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from tinsmith_runtime.bundle.installation import (
    MAX_FAILED,
    RECORD,
    Installation,
    dump_installation,
    read_installation,
)
from tinsmith_runtime.deploy.lock import LOCK
from tinsmith_runtime.errors import BundleError, UsageError
from tinsmith_runtime.files import UNFINISHED, read_regular, write_whole

_BUNDLE = re.compile(r"([0-9a-f]{64})\.tin")
_OURS = re.compile(f"{_BUNDLE.pattern}|{UNFINISHED}|{re.escape(LOCK)}")


@dataclass(frozen=True)
class Switch:
    """What was done with an installed folder.

    Attributes:
        folder: the installed folder.
        changed: of a confirmation, whether it ended a trial; else whether another bundle is loaded
            now, or the current one was damaged and is whole.
        current: sha256 of the bundle that is loaded.
        previous: sha256 of the bundle that is kept; `None` if there is none.
        on_trial: whether the current bundle waits for its confirmation.
        warnings: what is not as it should be, though it was done.
    """

    folder: str
    changed: bool
    current: str
    previous: str | None
    on_trial: bool
    warnings: tuple[str, ...] = ()


def told(folder: Path, changed: bool, record: Installation, warnings: tuple[str, ...]) -> Switch:
    """Says what a folder's record has become."""
    trial = record.trial is not None
    return Switch(str(folder), changed, record.current, record.previous, trial, warnings)


def record_of(folder: Path) -> Installation | None:
    """Reads the record of a folder, as `read_installation` does; an error names the folder."""
    try:
        return read_installation(folder)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error


def require_installed(folder: Path) -> Installation:
    """Reads the record of a folder in which there must be one.

    Raises:
        UsageError: nothing was ever installed there.
        BundleError: the record is damaged.
    """
    record = record_of(folder)
    if record is None:
        raise UsageError(f"{folder}: expected an installed folder")
    return record


def is_ours(name: str) -> bool:
    """Whether an install may have made a file of that name before there was a record."""
    return bool(_OURS.fullmatch(name))


def failed(record: Installation) -> Installation:
    """What follows on a trial that failed: the previous bundle is back, and there is none before.

    The one that failed is remembered, so that it is not installed again.
    """
    assert record.previous is not None
    remembered = (*record.failed, record.current)[-MAX_FAILED:]
    return replace(record, current=record.previous, previous=None, failed=remembered, trial=None)


def write_bundle_file(file: Path, data: bytes) -> bool:
    """Sees to it that a bundle is in its place and on the disk.

    Returns:
        Whether it had to be written.

    Raises:
        OSError: or `TinsmithError`: the disk refuses.
    """
    with contextlib.suppress(OSError):  # if it cannot be read, it is written anew
        if read_regular(file, len(data), follow=False) == data:
            return False
    write_whole(file, data)
    flush(file.parent)
    return True


def switch(folder: Path, record: Installation) -> tuple[str, ...]:
    """Names the record of a folder, and removes what it no longer names.

    Returns:
        Warnings: once the record is in its place, nothing that follows can make a failure of it.

    Raises:
        TinsmithError: the disk refuses, and nothing has changed.
    """
    write_whole(folder / RECORD, dump_installation(record))
    warnings: tuple[str, ...] = ()
    try:
        flush(folder)
    except OSError as error:
        warnings = (f"{folder}: a power cut may undo this: {error.strerror or error}",)
    clean(folder, record)
    return warnings


def clean(folder: Path, record: Installation | None) -> None:
    """Removes bundles that the record does not name, and what a killed install left.

    What cannot be removed now is left to the next install.
    """
    kept = {record.current, record.previous} if record else set()
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            bundle = _BUNDLE.fullmatch(path.name)
            if bundle[1] not in kept if bundle else re.fullmatch(UNFINISHED, path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


def flush(folder: Path) -> None:
    """Makes the renames in a folder survive a power cut.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
