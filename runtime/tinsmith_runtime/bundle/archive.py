"""The zip that a bundle is: uncompressed and canonical, the same content is the same bytes.

See `docs/decisions/canonical-zip.md`. Format: APPNOTE.TXT 6.3.10 of PKWARE, 4.3.7 (local header),
4.3.12 (directory), 4.3.16 (its end).
"""

import importlib
import struct
import sys
from binascii import crc32
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import SEEK_END
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.errors import BundleError

if TYPE_CHECKING:
    from typing import BinaryIO

# What a local header and an entry of the directory share: version, flags, method, time, date,
# crc-32, compressed and real size, lengths of the name and of the extra field.
_SHARED = "5H3L2H"
_LOCAL = struct.Struct(f"<4s{_SHARED}")
_ENTRY = struct.Struct(f"<4s2B{_SHARED}3H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _ENTRY_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _UNIX = 20, 3
_1980_01_01 = 1 << 5 | 1
_RW_R__R__ = 0o644 << 16
_MAX_FILES = 64
# OpenSSL has the CPU's own instructions, but takes 4 MB and 4 ms to load.
_WORTH_OPENSSL_BYTES = 1 << 22


def pack(contents: Mapping[str, bytes]) -> bytes:
    """Packs files into a zip; the same content in the same order is the same bytes."""
    return b"".join(piece for _, piece in _pieces(contents))


def packed_sha256(contents: Mapping[str, bytes]) -> str:
    """The sha256 of what `pack` makes of files, which are not copied for it."""
    size_bytes = sum(map(len, contents.values()))
    return sha256_of((piece for _, piece in _pieces(contents)), size_bytes)


def is_packed(
    stream: "BinaryIO", contents: Mapping[str, bytes], places: Mapping[str, tuple[int, int]]
) -> bool:
    """Whether a file holds what `pack` makes of `contents`, which were read from `places` in it."""
    position = 0
    for name, piece in _pieces(contents):
        if name is None:
            stream.seek(position)
            if stream.read(len(piece)) != piece:
                return False
        elif places[name] != (position, len(piece)):
            return False
        position += len(piece)
    return not stream.read(1)


def unpack(stream: "BinaryIO") -> dict[str, tuple[int, int]]:
    """Finds the files in a zip and reads none; what else there is to it, `is_packed` checks.

    Returns:
        Name to the place of its first byte and its size in bytes.

    Raises:
        BundleError: it is not a zip, a file is compressed, or ends beyond it.
    """
    places: dict[str, tuple[int, int]] = {}
    end, position = stream.seek(0, SEEK_END), stream.seek(0)
    while (header := stream.read(_LOCAL.size)).startswith(_LOCAL_MAGIC):
        if len(header) < _LOCAL.size or len(places) == _MAX_FILES:
            raise BundleError(f"expected a zip of at most {_MAX_FILES} whole files")
        _, _, _, method, _, _, _, size, _, name_size, extra = _LOCAL.unpack(header)
        if method:
            raise BundleError(f"expected a zip without compression, got method {method}")
        name = stream.read(name_size).decode(errors="replace")
        position += _LOCAL.size + name_size + extra
        places[name] = position, size
        position += size
        if position > end:
            raise BundleError(f"expected a zip of {position} bytes at least, got {end}")
        stream.seek(position)
    if not header.startswith((_ENTRY_MAGIC, _END_MAGIC)):
        raise BundleError(f"expected a zip: byte {position} is no part of one")
    return places


def _pieces(contents: Mapping[str, bytes]) -> Iterator[tuple[str | None, bytes]]:
    """The bytes of a zip, in order; with its name what is a file's."""
    directory = b""
    offset = 0
    for name, data in contents.items():
        title = name.encode()
        sizes = (crc32(data), len(data), len(data), len(title), 0)
        shared = (_VERSION, 0, 0, 0, _1980_01_01, *sizes)
        header = _LOCAL.pack(_LOCAL_MAGIC, *shared) + title
        entry = (_ENTRY_MAGIC, _VERSION, _UNIX, *shared, 0, 0, 0, _RW_R__R__, offset)
        directory += _ENTRY.pack(*entry) + title
        offset += len(header) + len(data)
        yield None, header
        yield name, data
    yield None, directory
    count = len(contents)
    end = _END.pack(_END_MAGIC, 0, 0, count, count, len(directory), offset, 0)
    yield None, end


def sha256(data: bytes) -> str:
    """The sha256 of `data` as 64 hex digits."""
    return sha256_of((data,), len(data))


def sha256_of(pieces: Iterable[bytes], size_bytes: int) -> str:
    """The same of bytes that come in pieces, about `size_bytes` in all."""
    if _BUILT_IN and size_bytes < _WORTH_OPENSSL_BYTES:
        found = _BUILT_IN()
    else:
        import hashlib

        found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return str(found.hexdigest())


def _find_built_in() -> Callable[[], Any] | None:
    """Python's own, which a distribution may have left out."""
    try:
        module = importlib.import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256")
    except ImportError:
        return None
    found: Callable[[], Any] = module.sha256
    return found


_BUILT_IN = _find_built_in()
