"""Uncompressed zips: the canonical one that a bundle is, and the ones that numpy writes."""

import contextlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Set
from typing import BinaryIO, TypeAlias

from tinsmith_runtime.errors import BundleError

Read: TypeAlias = Callable[[str, int], bytes]
"""`read(name, limit_bytes)` fetches one file, or raises a `BundleError` if it is larger."""

# The end of a zip: "PK\5\6", how many entries, the bytes of their directory, where it begins, no
# comment. A zip of over 4 GB has one more record before it, the locator, which begins "PK\6\7".
_END = struct.Struct("<4s6xHII2x")
_LOCATOR_BYTES = 20
# The reader makes an object, ten times as large, of each entry before any is looked at.
_MAX_DIRECTORY_BYTES = 1 << 16
_MAX_SAID = 200

# What the standard library raises on a damaged zip, depending on which byte it is.
_TROUBLE = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, OverflowError,
            RuntimeError, ValueError, struct.error, zlib.error)  # fmt: skip


def pack(contents: Mapping[str, bytes]) -> bytes:
    """Packs files into a zip; the same content in the same order is the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return buffer.getvalue()


@contextlib.contextmanager
def unpack(stream: BinaryIO) -> Iterator[tuple[Set[str], Read]]:
    """Opens a zip, of which nothing but its directory is read before it is asked for.

    Yields:
        The names in it, and what reads one of them.

    Raises:
        BundleError: it is not a zip, it is damaged, or an entry is missing or compressed.
    """
    try:
        _check_end(stream)
        with zipfile.ZipFile(stream) as archive:

            def read(name: str, limit: int) -> bytes:
                entry = archive.NameToInfo.get(name)
                if entry is None:
                    raise BundleError(f"{name}: missing")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise BundleError(f"{name}: expected it uncompressed")
                check_size(name, entry.file_size, limit)
                return archive.read(entry)

            yield archive.NameToInfo.keys(), read
    except _TROUBLE as error:
        # Some of these quote a name of 64 kB.
        raise BundleError(f"expected a zip: {str(error)[:_MAX_SAID]}") from error


def _check_end(stream: BinaryIO) -> None:
    size_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size_bytes - _END.size - _LOCATOR_BYTES))
    tail = stream.read()
    if len(tail) < _END.size:
        raise BundleError(f"expected a zip: got {size_bytes} bytes")
    magic, _, directory_bytes, _ = _END.unpack(tail[-_END.size :])
    if magic != b"PK\5\6" or tail.startswith(b"PK\6\7"):
        raise BundleError("expected a zip: its end is missing, or is not as tinsmith writes it")
    check_size("the zip's directory", directory_bytes, _MAX_DIRECTORY_BYTES)


def check_size(name: str, size_bytes: int, limit: int) -> None:
    """Refuses to read a file that is larger than it may be."""
    if size_bytes > limit:
        raise BundleError(f"{name}: expected at most {limit} bytes, got {size_bytes}")
