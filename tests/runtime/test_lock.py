"""The lock of an installed folder: who waits, how long, and who may hold it."""

import errno
import fcntl
import os
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tinsmith_runtime import TinsmithError, UsageError
from tinsmith_runtime.cli import main
from tinsmith_runtime.deploy.lock import LOCK, locked

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """A folder whose lock somebody else holds; the lock's file descriptor."""
    with locked(tmp_path):
        pass
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_waits_so_long_and_says_who_it_waits_for(held: int, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(TinsmithError) as caught, locked(tmp_path, 0.3):
        pass
    assert time.monotonic() - start >= 0.3
    told = f":{os.fstat(held).st_ino} " in Path("/proc/locks").read_text()  # not in every sandbox
    holder = f"process {os.getpid()}, perhaps another" if told else "another"
    assert str(caught.value) == (
        f"{tmp_path}: still locked after 0.3 s by {holder} tinsmith install: "
        "wait longer with --wait SECONDS"
    )


@pytest.mark.parametrize("locks", ["", "1: FLOCK ADVISORY WRITE -1 00:00:1 0 EOF\nx\n", None])
def test_a_system_that_does_not_tell(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str | None
) -> None:
    def read(*_: object) -> bytes:
        if locks is None:
            raise PermissionError(errno.EACCES, "no")
        return locks.encode()

    monkeypatch.setattr("tinsmith_runtime.deploy.lock.read_regular", read)
    with pytest.raises(TinsmithError, match="by another tinsmith install:"), locked(tmp_path, 0):
        pass


def test_goes_on_when_the_other_ends(held: int, tmp_path: Path) -> None:
    threading.Timer(0.2, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
    with locked(tmp_path, 60):
        pass


def test_a_signal_ends_the_wait(held: int, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    try:
        with pytest.raises(KeyboardInterrupt), locked(tmp_path, 60):
            pass
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_commands_wait(
    held: int,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / LOCK).rename(tmp_path / "home" / LOCK)
    words = ["install", str(tiny), str(tmp_path / "home"), "--wait", "0"]
    assert main(words) == 1
    assert "still locked after 0 s" in one_line(capsys.readouterr().err)
    fcntl.flock(held, fcntl.LOCK_UN)
    assert main(words) == 0
    assert main(["install", "--confirm", *words[1:]]) == 0


@pytest.mark.parametrize(("folder", "lock"), [(0o700, 0o600), (0o755, 0o600), (0o775, 0o660)])
def test_who_may_write_may_lock(tmp_path: Path, folder: int, lock: int) -> None:
    tmp_path.chmod(folder)
    umask = os.umask(0o077)
    try:
        with locked(tmp_path):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / LOCK).stat().st_mode) == lock


def _as(user: int, group: int, act: Callable[[], object]) -> int:
    """The exit status of a child of another user: 0 if `act` returns."""
    if not (child := os.fork()):
        status = 1
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
            act()
            status = 0
        except (OSError, TinsmithError):
            status = 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@AS_ROOT
@pytest.mark.not_on_a_board(reason="forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_who_may_only_read_cannot_lock(open_folder: Path) -> None:
    home = open_folder
    home.chmod(0o775)
    os.chown(home, 1000, 2000)

    def lock() -> None:
        with locked(home, 0):
            pass

    def lock_the_file() -> None:
        fcntl.flock(os.open(home / LOCK, os.O_RDONLY), fcntl.LOCK_SH)

    lock()  # root's: the file becomes the folder's owner's
    assert _as(1000, 1000, lock) == 0
    assert _as(1001, 2000, lock) == 0
    for act in (lock, lock_the_file):
        assert _as(1002, 1002, act) == 2
    # Who may read the folder may lock the folder itself: nobody cares.
    descriptor = os.open(home, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    lock()
    os.close(descriptor)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_lock(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    kind: str,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if kind == "pipe":
        os.mkfifo(home / LOCK)
    elif kind == "link":
        (home / LOCK).symlink_to(tmp_path / "elsewhere")
    else:
        (home / LOCK).mkdir()
    assert main(["install", str(tiny), str(home)]) == 1
    assert LOCK in one_line(capsys.readouterr().err)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("wait", [-1.0, float("nan")])
def test_a_wait_that_is_none(tmp_path: Path, wait: float) -> None:
    with (
        pytest.raises(UsageError, match="--wait: expected 0 seconds or more"),
        locked(tmp_path, wait),
    ):
        pass
