"""One at a time: the lock of an installed folder, which only who may write there can hold.

It is a file that stays in the folder; the lock on it ends with the process that holds it, however
that ends. Who may not write to the folder may not open the file, so that nobody else can keep an
install waiting.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_runtime.files import read_regular

LOCK = ".tinsmith-lock"
WAIT_S = 30.0
_EVERY_S = 0.05
_MAX_LOCKS_BYTES = 1 << 22


@contextlib.contextmanager
def locked(folder: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the lock of a folder, once nobody else does.

    Raises:
        UsageError: no permission to write there, or a wait that is none.
        TinsmithError: somebody still holds it after `wait_s` seconds.
        OSError: the system refuses.
    """
    if not wait_s >= 0:
        raise UsageError(f"--wait: expected 0 seconds or more, got {wait_s:g}")
    try:
        descriptor = _open_lock(folder)
    except PermissionError as error:
        raise UsageError(f"{folder}: no permission to write there") from error
    try:
        _acquire(folder, descriptor, wait_s)
        yield
    finally:
        # What was done under the lock is done, whatever a close may say.
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _open_lock(folder: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(folder / LOCK, flags, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise TinsmithError(f"{folder / LOCK}: expected a file: remove it")
        _share(descriptor, found, folder.stat())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _share(descriptor: int, found: os.stat_result, folder: os.stat_result) -> None:
    """Opens the lock to whoever may write to the folder, be it another user of its group."""
    writers = stat.S_IMODE(folder.st_mode) & 0o222
    # Only the file's owner may do so; the next one who is does it, if it was not done.
    with contextlib.suppress(OSError):
        if (found.st_uid, found.st_gid) != (folder.st_uid, folder.st_gid):
            os.fchown(descriptor, folder.st_uid if os.geteuid() == 0 else -1, folder.st_gid)
        if stat.S_IMODE(found.st_mode) != writers | writers << 1:
            os.fchmod(descriptor, writers | writers << 1)


def _acquire(folder: Path, descriptor: int, wait_s: float) -> None:
    import fcntl  # not on Windows, where every other command works

    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise TinsmithError(
                    f"{folder}: still locked after {wait_s:g} s by {_holder(descriptor)}: "
                    "wait longer with --wait SECONDS"
                ) from error
        else:
            return
        time.sleep(_EVERY_S)  # a signal's handler has its turn here


def _holder(descriptor: int) -> str:
    """Who has the lock, if the system tells: `1: FLOCK ADVISORY WRITE 4711 fe:00:123 0 EOF`."""
    inode = str(os.fstat(descriptor).st_ino)
    with contextlib.suppress(OSError):
        for line in read_regular("/proc/locks", _MAX_LOCKS_BYTES).decode().splitlines():
            fields = line.split()
            place = fields[5].split(":") if len(fields) > 5 else []
            if fields[1:2] == ["FLOCK"] and place[2:] == [inode] and int(fields[4]) > 0:
                return f"process {fields[4]}, perhaps another tinsmith install"
    return "another tinsmith install"
