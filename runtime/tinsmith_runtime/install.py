"""Installing a bundle into a folder that always loads, whenever the power goes.

A bundle is written whole and flushed to the disk before the record (see `installation`) names it,
and no bundle that the record names is ever removed or written over while it is whole.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tinsmith_runtime.archive import pack
from tinsmith_runtime.bundle import Bundle, sha256
from tinsmith_runtime.errors import BackendError, BundleError, UsageError
from tinsmith_runtime.files import UNFINISHED, write_whole
from tinsmith_runtime.installation import RECORD, Installation, bundle_file, read_installation
from tinsmith_runtime.selftest import require_passed, selftest_bundle
from tinsmith_runtime.signature import read_trusted

_BUNDLE = re.compile(r"([0-9a-f]{64})\.tin")
_UNFINISHED = re.compile(UNFINISHED)


@dataclass(frozen=True)
class Switch:
    """What an install or a rollback did.

    Attributes:
        folder: the installed folder.
        changed: whether another bundle is loaded, or the current one was damaged and is whole now.
        current: sha256 of the bundle that is loaded.
        previous: sha256 of the bundle that is kept; `None` after the first install.
    """

    folder: str
    changed: bool
    current: str
    previous: str | None


def install(
    source: str | Path,
    folder: str | Path,
    trusted_keys: Sequence[str | Path | bytes] | None = None,
) -> Switch:
    """Verifies a bundle, tests it on every installed engine, then switches a folder to it.

    Args:
        source: a `.tin` file or a folder of the same content.
        folder: the installed folder; made if its parent is there.
        trusted_keys: public keys: a bundle that none of them signed is refused; see `load`.

    Raises:
        UsageError: there is nothing at `source`, a key is bad, or `folder` cannot hold an
            installation.
        BundleError: the bundle is damaged or not signed by a trusted key, or the disk refuses.
        BackendError: an engine is missing, or does not give the golden outputs.
    """
    folder = Path(folder)
    _require_place(folder)
    bundle = read_trusted(source, trusted_keys)
    _require_selftest(source, bundle)
    data = pack(bundle.files)
    digest = sha256(data)
    with _locked(folder) as before:
        _clean(folder, before)
        file = bundle_file(folder, digest)
        whole = file.is_file() and file.read_bytes() == data
        if before and before.current == digest:
            after = before
        else:
            after = Installation(digest, before.current if before else None)
        if not whole:
            write_whole(file, data)
            _flush(folder)
        if after != before:
            _switch(folder, after)
    return Switch(str(folder), not (whole and after == before), after.current, after.previous)


def rollback(
    folder: str | Path, trusted_keys: Sequence[str | Path | bytes] | None = None
) -> Switch:
    """Switches a folder back to its previous bundle; the current one becomes the previous one.

    Args:
        folder: an installed folder.
        trusted_keys: as `install` takes them, for the previous bundle.

    Raises:
        UsageError: there is no such folder, it keeps no previous bundle, or a key is bad.
        BundleError: the previous bundle is damaged or not signed by a trusted key, or the disk
            refuses.
        BackendError: an engine is missing, or does not give the golden outputs.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected an installed folder")
    _require_place(folder)
    with _locked(folder) as before:
        if before is None or before.previous is None:
            raise UsageError(f"{folder}: keeps no previous bundle to roll back to")
        _clean(folder, before)
        file = bundle_file(folder, before.previous)
        if not file.is_file():
            raise BundleError(f"{file}: missing: install a bundle instead")
        _require_selftest(file, read_trusted(file, trusted_keys))
        _switch(folder, Installation(before.previous, before.current))
    return Switch(str(folder), True, before.previous, before.current)


def _require_place(folder: Path) -> None:
    """Refuses a folder that cannot be written to, or that holds something else."""
    try:
        _look_at(folder)
    except PermissionError as error:
        raise UsageError(f"{folder}: no permission to look there") from error


def _look_at(folder: Path) -> None:
    if not folder.exists():
        if not folder.parent.is_dir():
            raise UsageError(f"{folder.parent}: no such folder to install into")
        if not os.access(folder.parent, os.W_OK | os.X_OK):
            raise UsageError(f"{folder.parent}: no permission to make a folder there")
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder, found a file")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: no permission to write there")
    names = [path.name for path in folder.iterdir()]
    ours = RECORD in names or all(_BUNDLE.fullmatch(n) or _UNFINISHED.fullmatch(n) for n in names)
    if not ours:
        raise UsageError(f"{folder}: holds other files: expected a new or an installed folder")


def _require_selftest(path: str | Path, bundle: Bundle) -> None:
    try:
        require_passed(selftest_bundle(bundle))
    except (BackendError, BundleError) as error:
        raise type(error)(f"{path}: {error}") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Installation | None]:
    """Makes the folder if need be, waits until no other install is at work in it, reads it."""
    import fcntl  # not on Windows, where every other command works

    try:
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            _flush(folder.parent)
        # The lock is the folder's own: it needs no file, and ends with the process.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError as error:
        raise UsageError(f"{folder}: no permission to write there") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            record = read_installation(folder)
        except BundleError as error:
            raise BundleError(f"{folder}: {error}") from error
        yield record
    finally:
        os.close(descriptor)


def _switch(folder: Path, record: Installation) -> None:
    write_whole(folder / RECORD, (json.dumps(asdict(record), indent=1) + "\n").encode())
    _flush(folder)
    _clean(folder, record)


def _clean(folder: Path, record: Installation | None) -> None:
    """Removes bundles that the record does not name, and what a killed install left."""
    kept = {record.current, record.previous} if record else set()
    for path in list(folder.iterdir()):
        bundle = _BUNDLE.fullmatch(path.name)
        if _UNFINISHED.fullmatch(path.name) or (bundle and bundle[1] not in kept):
            path.unlink()


def _flush(folder: Path) -> None:
    """Makes the renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
