"""Installing a bundle into a folder that always loads, and going back to the one before."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tinsmith_runtime.bundle import Bundle, pack, read_bundle, read_installed, sha256
from tinsmith_runtime.bundle.installation import RECORD, Installation, Trial
from tinsmith_runtime.deploy.lock import WAIT_S, locked
from tinsmith_runtime.deploy.policy import Asked, given_keys, require_trusted, require_wanted
from tinsmith_runtime.deploy.switch import (
    Switch,
    clean,
    failed,
    flush,
    is_ours,
    record_of,
    require_installed,
    switch,
    told,
    write_bundle_file,
)
from tinsmith_runtime.errors import BackendError, BundleError, TinsmithError, UsageError
from tinsmith_runtime.files import file_errors
from tinsmith_runtime.selftest import require_passed, selftest_bundle


def install(
    source: str | Path,
    folder: str | Path,
    trusted_keys: Sequence[str | Path | bytes] | None = None,
    *,
    confirm: bool = False,
    allow_downgrade: bool = False,
    allow_failed: bool = False,
    wait_s: float = WAIT_S,
) -> Switch:
    """Verifies a bundle, tests it on every installed engine, then switches a folder to it.

    Args:
        source: a `.tin` file or a folder of the same content.
        folder: the installed folder; made if its parent is there.
        trusted_keys: public keys, as `load` takes them. The folder remembers them for every later
            bundle; others take their place only with a bundle that one of the old ones signed too.
        confirm: put it on trial, until it is confirmed; see `trial`.
        allow_downgrade: take a bundle of an older release than the folder has had.
        allow_failed: take a bundle that failed its trial in this folder, or a gate of its export.
        wait_s: how many seconds to wait for another install to end.

    Raises:
        UsageError: there is nothing at `source`, a key is bad, or `folder` cannot hold an
            installation.
        BundleError: the bundle is damaged, not signed by a trusted key, older, or failed before.
        BackendError: an engine is missing, or does not give the golden outputs.
        TinsmithError: another install does not end, or the disk refuses. Nothing has changed.
    """
    folder = Path(folder)
    with file_errors(folder):
        _require_place(folder)
        asked = Asked(given_keys(trusted_keys), allow_downgrade, allow_failed)
        bundle = read_bundle(source)
        data = pack(bundle.files)
        digest = sha256(data)
        _require_admitted(source, bundle, digest, record_of(folder), asked)
        _require_selftest(source, bundle)
        _make(folder)
        with locked(folder, wait_s):
            before = record_of(folder)  # another install may have been here meanwhile
            keys = _require_admitted(source, bundle, digest, before, asked)
            trial = Trial(0, bundle.manifest.release) if confirm else None
            after = _next(before, digest, bundle.manifest.release, trial)
            after = replace(after, trusted_keys=keys)
            clean(folder, before)
            written = write_bundle_file(folder / f"{digest}.tin", data)
            warnings = switch(folder, after) if after != before else ()
            changed = written or before is None or before.current != digest
            return told(folder, changed, after, warnings)


def rollback(
    folder: str | Path,
    trusted_keys: Sequence[str | Path | bytes] | None = None,
    *,
    wait_s: float = WAIT_S,
) -> Switch:
    """Switches a folder back to its previous bundle; the current one becomes the previous one.

    If the current one is on trial, it has failed: it is not kept, and not installed again.

    Args:
        folder: an installed folder.
        trusted_keys: as `install` takes them, for the previous bundle.
        wait_s: how many seconds to wait for another install to end.

    Raises:
        UsageError: there is no such folder, it keeps no previous bundle, or a key is bad.
        TinsmithError: as `install`, or another install was quicker. Nothing has changed.
    """
    folder = Path(folder)
    with file_errors(folder):
        if not folder.is_dir():
            raise UsageError(f"{folder}: expected an installed folder")
        _require_place(folder)
        given = given_keys(trusted_keys)
        before = record_of(folder)
        if before is None or before.previous is None:
            raise UsageError(f"{folder}: keeps no previous bundle to roll back to")
        file = folder / f"{before.previous}.tin"
        bundle = _read_previous(folder, before.previous)
        keys = require_trusted(file, bundle, before, given)
        _require_selftest(file, bundle)
        with locked(folder, wait_s):
            if require_installed(folder) != before:
                raise TinsmithError(f"{folder}: changed by another install meanwhile: try again")
            if before.trial:
                after = failed(before)
            else:
                after = replace(before, current=before.previous, previous=before.current)
            after = replace(after, trusted_keys=keys)
            return told(folder, True, after, switch(folder, after))


def _next(
    before: Installation | None, digest: str, release: int, trial: Trial | None
) -> Installation:
    """What the record says after a bundle was installed; nothing new if it is there already."""
    if before is None:
        return Installation(digest, None, release=0 if trial else release, trial=trial)
    if digest == before.current:
        return before
    # What was on trial is not kept: the way back leads to a bundle that was confirmed.
    previous = before.previous if before.trial else before.current
    return replace(
        before,
        current=digest,
        previous=None if previous == digest else previous,
        release=before.release if trial else max(before.release, release),
        failed=tuple(other for other in before.failed if other != digest),
        trial=trial,
    )


def _require_admitted(
    path: str | Path, bundle: Bundle, digest: str, record: Installation | None, asked: Asked
) -> tuple[str, ...]:
    keys = require_trusted(path, bundle, record, asked.trusted_keys)
    require_wanted(path, bundle, digest, record, asked)
    return keys


def _read_previous(folder: Path, digest: str) -> Bundle:
    try:
        return read_installed(folder, digest)
    except FileNotFoundError as error:
        file = folder / f"{digest}.tin"
        raise BundleError(f"{file}: missing: install a bundle instead") from error
    except BundleError as error:
        raise BundleError(f"{folder / digest}.tin: {error}") from error


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
    if RECORD not in names and not all(map(is_ours, names)):
        raise UsageError(f"{folder}: holds other files: expected a new or an installed folder")


def _require_selftest(path: str | Path, bundle: Bundle) -> None:
    try:
        require_passed(selftest_bundle(bundle))
    except (BackendError, BundleError) as error:
        raise type(error)(f"{path}: {error}") from error


def _make(folder: Path) -> None:
    if not folder.is_dir():
        try:
            folder.mkdir(exist_ok=True)
        except PermissionError as error:
            raise UsageError(f"{folder}: no permission to make it") from error
        flush(folder.parent)
