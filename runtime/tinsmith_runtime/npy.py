"""Reading `.npy` files from strangers: nothing is unpickled, and a header that lies costs nothing.

The format, in versions 1 and 2: numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import io
import math
import os
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import InputError, UsageError
from tinsmith_runtime.files import open_regular

MAX_HEADER_BYTES = 10_000
"""Where the elements start at the latest; numpy trusts no longer header either."""

# What is larger is mapped: only what is used of it is read. What is smaller is read, for a map of a
# file that another program cuts short, as `np.save` does first, ends the process.
_READ_BYTES = 1 << 24
_MOST_SAID = 200
# What numpy raises on a damaged header, depending on which byte it is; it warns of some.
_TROUBLE = (ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, SyntaxError,
            AttributeError, MemoryError, RecursionError, TokenError, Warning)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What stands before the elements.

    Attributes:
        shape: of the array.
        dtype: of the elements, which are no Python objects.
        order: `C`, or `F` where the first index changes fastest.
        offset: of the first element, in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int

    @property
    def size_bytes(self) -> int:
        """What the elements take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self, elements: "bytes | memoryview") -> NDArray[Any]:
        """The array, not to be written to, of its elements.

        Raises:
            ValueError: they are fewer.
        """
        self.require(len(elements))
        try:
            return np.ndarray(self.shape, self.dtype, elements, order=self.order)
        except _TROUBLE as error:
            raise ValueError(str(error)) from error

    def require(self, size_bytes: int) -> None:
        """Raises a `ValueError` if there is less than the elements take."""
        if self.size_bytes > size_bytes:
            raise ValueError(f"its header promises {self.size_bytes} bytes, got {size_bytes}")


def parse_header(data: bytes) -> Header:
    """Reads a header.

    Args:
        data: what the file begins with, `MAX_HEADER_BYTES` of it or all.

    Raises:
        ValueError: it is no header, or one of Python objects.
    """
    stream = io.BytesIO(data[:MAX_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} is not known")
        read = np.lib.format.read_array_header_1_0
        if version == (2, 0):
            read = np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(stream)
    except _TROUBLE as error:
        raise ValueError(str(error)[:_MOST_SAID]) from error  # numpy quotes a header, however long
    if dtype.hasobject:
        raise ValueError("it holds Python objects, and to load one may run code")
    if dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"got {dtype} of shape {shape}")
    return Header(shape, dtype, "F" if by_column else "C", stream.tell())


def read_npy(path: "str | os.PathLike[str]") -> NDArray[Any]:
    """Reads the array of a `.npy` file, or maps a large one.

    Returns:
        An array that is not to be written to.

    Raises:
        UsageError: there is no such file.
        InputError: it is no file, or holds no plain array.
    """
    try:
        with open_regular(path) as stream:
            header = parse_header(stream.read(MAX_HEADER_BYTES))
            header.require(os.fstat(stream.fileno()).st_size - header.offset)
            stream.seek(header.offset)
            if header.size_bytes <= _READ_BYTES:
                return header.array(stream.read(header.size_bytes))
            return np.memmap(
                stream, header.dtype, "r", header.offset, header.shape, order=header.order
            )
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except _TROUBLE as error:
        raise InputError(f"{path}: expected a .npy array: {error}") from error
