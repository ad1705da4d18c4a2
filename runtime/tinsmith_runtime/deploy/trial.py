"""A bundle on trial: if what runs it does not confirm it, the second start goes back.

`boot` runs before each start of a service: it notes the first, and at the second goes back to the
previous bundle. The service calls `confirm` once it has done its work. Neither starts an engine.
"""

from dataclasses import replace
from pathlib import Path

from tinsmith_runtime.bundle import read_installed
from tinsmith_runtime.deploy.lock import WAIT_S, locked
from tinsmith_runtime.deploy.switch import Switch, failed, require_installed, switch, told
from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.files import file_errors


def boot(folder: str | Path, *, wait_s: float = WAIT_S) -> Switch:
    """Notes a start; goes back to the previous bundle at the second of a trial.

    The previous bundle is taken as it was installed: neither release nor signature is asked again.
    If it is not whole, or there is none, the current one stays, on trial.

    Args:
        folder: an installed folder.
        wait_s: how many seconds to wait for an install to end.

    Raises:
        UsageError: nothing was ever installed there, or it cannot be written to.
        BundleError: the record is damaged.
        TinsmithError: an install does not end, or the disk refuses. Nothing has changed.
    """
    folder = Path(folder)
    with file_errors(folder):
        record = require_installed(folder)
        if record.trial is None:  # nothing to note, so that a folder may be read-only
            return told(folder, False, record, ())
        with locked(folder, wait_s):
            record = require_installed(folder)
            if record.trial is None:
                return told(folder, False, record, ())
            if record.trial.boots == 0:
                after = replace(record, trial=replace(record.trial, boots=1))
                return told(folder, False, after, switch(folder, after))
            if reason := _why_no_rollback(folder, record.previous):
                warning = f"{folder}: failed its trial, but cannot go back: {reason}"
                return told(folder, False, record, (warning,))
            after = failed(record)
            return told(folder, True, after, switch(folder, after))


def confirm(folder: str | Path, *, wait_s: float = WAIT_S) -> Switch:
    """Ends the trial of the current bundle; does nothing if it is on none.

    Raises:
        TinsmithError: as `boot`, or the bundle was not started yet. Nothing has changed.
    """
    folder = Path(folder)
    with file_errors(folder):
        record = require_installed(folder)
        if record.trial is None:
            return told(folder, False, record, ())
        with locked(folder, wait_s):
            record = require_installed(folder)
            if record.trial is None:
                return told(folder, False, record, ())
            if record.trial.boots == 0:  # whoever confirms runs the bundle before
                raise TinsmithError(
                    f"{folder}: {record.current[:12]} was not started yet: "
                    "`tinsmith boot` notes a start, and a confirmation follows on it"
                )
            highest = max(record.release, record.trial.release)
            after = replace(record, release=highest, trial=None)
            return told(folder, True, after, switch(folder, after))


def _why_no_rollback(folder: Path, previous: str | None) -> str:
    """Why the previous bundle cannot be gone back to; empty if it can."""
    if previous is None:
        return "there is no previous bundle"
    try:
        read_installed(folder, previous)
    except (OSError, TinsmithError) as error:
        return str(error)
    return ""
