"""IDX, the file format MNIST comes in: a header, then bytes.

```
0x00 0x00 0x08 ndim      magic number; 0x08 is the element type, unsigned byte
ndim times uint32        the shape, big-endian
uint8 ...                the elements in C order, and nothing after them
```

The format allows other element types; MNIST uses none of them, and they are refused.
"""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.errors import DatasetError
from tinsmith_runtime.files import read_regular

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_BYTES = 1 << 26  # MNIST's largest file takes 47 million
# What a magic number means to a person who put the wrong file in the wrong place.
_MEANING = {0x0801: "labels", 0x0803: "images"}


def encode_idx(array: NDArray[np.uint8]) -> bytes:
    """Gives the IDX file that holds `array`, `uint8` of any shape of at most 255 axes."""
    magic = _UNSIGNED_BYTE << 8 | array.ndim
    header = np.array([magic, *array.shape], dtype=">u4")
    return header.tobytes() + array.tobytes()


def decode_idx(data: bytes, ndim: int, source: str) -> NDArray[np.uint8]:
    """Parses an IDX file.

    Args:
        data: the whole file, not compressed.
        ndim: the number of axes it must have: 1 for labels, 3 for images.
        source: what to call the file in an error.

    Returns:
        `uint8`, read-only, with the shape the header gives.

    Raises:
        DatasetError: wrong magic number, or more or fewer bytes than the header promises.
    """
    start = 4 + 4 * ndim
    if len(data) < start:
        raise DatasetError(
            f"{source}: truncated: expected a header of {start} bytes, got {len(data)} bytes"
        )
    expected = _UNSIGNED_BYTE << 8 | ndim
    magic, *shape = (int(word) for word in np.frombuffer(data[:start], dtype=">u4"))
    if magic != expected:
        raise DatasetError(
            f"{source}: expected magic number {_describe(expected)}, got {_describe(magic)}"
        )
    promised, got = math.prod(shape), len(data) - start
    if got != promised:
        fault = "truncated" if got < promised else "too long"
        raise DatasetError(
            f"{source}: {fault}: the header promises {promised} bytes of data, got {got}"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Reads an IDX file, gzipped or not (its first bytes tell, not its name).

    Raises:
        DatasetError: as `decode_idx`, or the file cannot be read or decompressed.
    """
    try:
        data = read_regular(path, _MAX_BYTES)
        if data.startswith(_GZIP_MAGIC):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
                data = stream.read(_MAX_BYTES + 1)
    except (EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: truncated or damaged gzip file: {error}") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise DatasetError(f"{path}: expected at most {_MAX_BYTES} bytes, unpacked, got more")
    return decode_idx(data, ndim, str(path))


def _describe(magic: int) -> str:
    meaning = _MEANING.get(magic)
    return f"{magic} ({meaning})" if meaning else str(magic)
