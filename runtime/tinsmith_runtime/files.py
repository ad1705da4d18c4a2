"""Reading files that may be anything, and writing files that are whole or not there.

A path may name a pipe that never ends, a device, a link, or a file of holes that is larger than
memory. Everything that the runtime reads is opened here.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinsmith_runtime.errors import TinsmithError, UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

    AnyPath = str | os.PathLike[str]

# Windows has none of these but O_BINARY, which nobody else has.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FLAGS |= getattr(os, "O_NONBLOCK", 0)  # else a pipe that nobody writes to would be waited for
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
UNFINISHED = r"\.tinsmith-[0-9a-f]{16}\.tmp"
"""Matches the name of what `write_whole` leaves beside a file when it is killed."""

_FIRST_BYTES = 1 << 16  # files of the kernel say that they hold none


@contextlib.contextmanager
def file_errors(path: "AnyPath") -> Iterator[None]:
    """Makes a `TinsmithError` of an `OSError`, which names the file, or `path` if it names none."""
    try:
        yield
    except OSError as error:
        where = os.fspath(path) if error.filename is None else error.filename
        raise TinsmithError(f"{where}: {error.strerror or error}") from error


def open_regular(path: "AnyPath", *, follow: bool = True) -> "BinaryIO":
    """Opens a file for reading, if it is one.

    Args:
        path: of the file.
        follow: whether a link in its place is followed.

    Raises:
        OSError: there is none, it is a folder, a pipe, a device or a link that is not followed, or
            the system refuses; `strerror` says in words what was expected and found.
    """
    if "\0" in os.fsdecode(path):
        raise OSError(errno.EINVAL, "expected a path, got one with a zero byte", path)
    # Looked at before it is opened, for to open a device may do something, and after, for it may
    # have become another in between.
    _require_regular(path, os.stat(path, follow_symlinks=follow))
    descriptor = os.open(path, _FLAGS | (0 if follow else _NO_FOLLOW))
    try:
        _require_regular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: "AnyPath", limit: int, *, follow: bool = True) -> bytes:
    """Reads a file of at most `limit` bytes; see `open_regular`.

    Raises:
        OSError: as `open_regular` does, or it is larger.
    """
    with open_regular(path, follow=follow) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise _too_large(path, limit, str(size))
        data = stream.read(min(limit, max(size, _FIRST_BYTES)) + 1)
        while len(data) <= limit and (more := stream.read(_FIRST_BYTES)):  # it grows meanwhile
            data += more
        if len(data) > limit:
            raise _too_large(path, limit, "more")
        return data


def write_whole(path: "AnyPath", data: bytes) -> None:
    """Writes a file beside its place and renames it into it: all of it or nothing.

    It keeps the mode of the file that it replaces. A link in its place is replaced, not followed.

    Raises:
        TinsmithError: there is something else than a file, or the disk refuses.
    """
    beside, made = "", False
    try:
        # A name that nobody can foresee: a link that waits there would be written through.
        beside = os.path.join(os.path.dirname(path), f".tinsmith-{os.urandom(8).hex()}.tmp")
        mode = _mode_of(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(beside, flags, 0o666 if mode is None else mode & 0o600)
        made = True
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())  # else a power cut could leave an empty file in its place
        os.replace(beside, path)
        made = False
    except OSError as error:
        raise TinsmithError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if made:
            _remove(beside)


def require_writable(path: "AnyPath") -> None:
    """Finds out, before the work whose result goes there, whether `write_whole` can write a file.

    It makes an empty file beside its place and removes it: that alone tells what permissions, a
    full disk, or a file system that is read-only allow.

    Raises:
        UsageError: there is something else than a file, no such folder, or the system refuses.
    """
    beside = os.path.join(os.path.dirname(path), f".tinsmith-{os.urandom(8).hex()}.tmp")
    try:
        _mode_of(path)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.close(descriptor)
        finally:
            _remove(beside)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def _mode_of(path: "AnyPath") -> int | None:
    """The permissions of what stands there; `None` if there is nothing or a link."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return None
    _require_regular(path, status)
    return stat.S_IMODE(status.st_mode)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # what is told is why it was not written
        pass


def _require_regular(path: "AnyPath", status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"expected a file, found {kind}", os.fspath(path))


def _too_large(path: "AnyPath", limit: int, got: str) -> OSError:
    return OSError(errno.EFBIG, f"expected at most {limit} bytes, got {got}", os.fspath(path))
