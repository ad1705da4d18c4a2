"""Uncompressed zips: the canonical one that a bundle is, and the ones that numpy writes."""

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from tinsmith_runtime.errors import BundleError

Read: TypeAlias = Callable[[str, int], bytes]
"""`read(name, limit_bytes)` fetches one file, or raises a `BundleError` if it is larger."""

# What the standard library raises on a damaged zip, depending on which byte it is.
ZIP_TROUBLE = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, OverflowError,
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
def unpack(data: bytes) -> Iterator[Read]:
    """Opens a zip in memory.

    Raises:
        BundleError: it is not a zip, it is damaged, or an entry is missing or compressed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:

            def read(name: str, limit: int) -> bytes:
                entry = archive.NameToInfo.get(name)
                if entry is None:
                    raise BundleError(f"{name}: missing")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise BundleError(f"{name}: expected it uncompressed")
                check_size(name, entry.file_size, limit)
                return archive.read(entry)

            yield read
    except ZIP_TROUBLE as error:
        raise BundleError(f"expected a zip: {error}") from error


def check_size(name: str, size_bytes: int, limit: int) -> None:
    """Refuses to read a file that is larger than it may be."""
    if size_bytes > limit:
        raise BundleError(f"{name}: expected at most {limit} bytes, got {size_bytes}")
