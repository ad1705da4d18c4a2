"""Reading `.npz` files from strangers: zips of `.npy` files, compressed or not.

What an array takes is known, and compared with a limit, before anything of it is read.
"""

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tinsmith_runtime.npy import parse_header

if TYPE_CHECKING:
    from typing import BinaryIO

_SUFFIX = ".npy"
# The end of a zip: where a large one says that its true end is before, and the 22 bytes that every
# zip without a comment ends with, its directory's size among them (APPNOTE.TXT 4.3.15, 4.3.16).
_ENDS = struct.Struct("<4s16x4s8xL4x2x")
_MAX_DIRECTORY_BYTES = 1 << 20
# What numpy writes. Some of the others are unpacked as a whole, whatever size is asked for.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the standard library raises on a damaged zip, depending on which byte it is.
_TROUBLE = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, OverflowError, RuntimeError,
            ValueError, MemoryError, struct.error, zlib.error)  # fmt: skip


def read_npz(
    stream: "BinaryIO", choose: Callable[[list[str]], Iterable[str]], limit: int
) -> dict[str, NDArray[Any]]:
    """Reads the arrays that `choose` takes of the names of all.

    Args:
        stream: an open file.
        choose: gives names of those that it is given.
        limit: how many bytes they may take together.

    Returns:
        Name to array, not to be written to.

    Raises:
        ValueError: it is no such archive, or they take more.
    """
    with open_archive(stream) as archive:
        names = [name for name in archive.namelist() if name.endswith(_SUFFIX)]
        chosen = list(choose([name.removesuffix(_SUFFIX) for name in dict.fromkeys(names)]))
        sizes = [archive.getinfo(name + _SUFFIX).file_size for name in chosen]
        if sum(sizes) > limit:
            raise ValueError(f"expected at most {limit} bytes of arrays, got {sum(sizes)}")
        return {name: _array(archive, name) for name in chosen}


@contextlib.contextmanager
def open_archive(stream: "BinaryIO") -> Iterator[zipfile.ZipFile]:
    """Opens a zip whose directory is small, for as long as the context lasts.

    Raises:
        ValueError: it is none, or what is read of it in the context is damaged.
    """
    try:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _ENDS.size))
        locator, end, directory_bytes = _ENDS.unpack(stream.read().rjust(_ENDS.size, b"\0"))
        if end != b"PK\5\6":
            raise ValueError("File is not a zip file")
        # zipfile reads all of a directory, and makes an object of each entry.
        if locator == b"PK\6\7" or directory_bytes > _MAX_DIRECTORY_BYTES:
            raise ValueError(f"expected a directory of at most {_MAX_DIRECTORY_BYTES} bytes")
        with zipfile.ZipFile(stream) as archive:
            yield archive
    except _TROUBLE as error:
        raise ValueError(str(error)) from error


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Unpacks one file, as large as the directory says and no larger.

    Raises:
        ValueError: it is packed in a way that numpy does not use, or is smaller.
    """
    if entry.compress_type not in _METHODS:
        raise ValueError(f"{entry.filename}: method {entry.compress_type} is not numpy's")
    with archive.open(entry) as file:
        data = file.read(entry.file_size)  # without a size, all that is packed would be unpacked
    if len(data) != entry.file_size:
        raise ValueError(f"{entry.filename}: expected {entry.file_size} bytes, got {len(data)}")
    return data


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    data = read_entry(archive, archive.getinfo(name + _SUFFIX))
    try:
        header = parse_header(data)
        return header.array(memoryview(data)[header.offset :])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
