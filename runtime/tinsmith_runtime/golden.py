"""Golden vectors: real inputs and the int8 outputs that every engine must give for them."""

import contextlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.manifest import Manifest

_MAX_HEADER_BYTES = 1 << 10
# What the standard library raises on a damaged zip, depending on which byte it is.
ZIP_TROUBLE = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, OverflowError,
               RuntimeError, ValueError, struct.error, zlib.error)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Real inputs and what every engine must answer.

    Attributes:
        inputs: `uint8 (N, H, W, C)` of images, `float32 (N, ...)` of features.
        outputs_int8: `int8 (N, ...)`, to be met bit for bit.
        outputs_float: `float32 (N, ...)`, the float model's logits or values.
    """

    inputs: NDArray[Any]
    outputs_int8: NDArray[np.int8]
    outputs_float: NDArray[np.float32]


def read_golden(data: bytes, manifest: Manifest) -> GoldenVectors:
    """Reads `golden.npz`; nothing is allocated for an array that is not what it must be.

    Args:
        data: the bytes of the file.
        manifest: says how many vectors there are, and the shapes of inputs and outputs.

    Raises:
        BundleError: an array is missing or does not fit the manifest.
    """
    count = manifest.golden.count
    inputs = (count, *manifest.input.sample_shape)
    outputs = (count, *manifest.output.sample_shape)
    expected = {
        "inputs": (np.dtype(manifest.input.dtype), inputs),
        "outputs_int8": (np.dtype(np.int8), outputs),
        "outputs_float": (np.dtype(np.float32), outputs),
    }
    arrays = {}
    try:
        with _zip(data) as archive:
            for key, (dtype, shape) in expected.items():
                size_bytes = math.prod(shape) * dtype.itemsize
                file = _read(archive, f"{key}.npy", size_bytes + _MAX_HEADER_BYTES)
                arrays[key] = _parse_npy(key, file, dtype, shape)
    except BundleError as error:
        raise BundleError(f"{manifest.golden.file}: {error}") from error
    if manifest.input.kind == "features" and np.isnan(arrays["inputs"]).any():
        raise BundleError(f"{manifest.golden.file}: inputs: expected numbers, got NaN")
    return GoldenVectors(**arrays)


@contextlib.contextmanager
def _zip(data: bytes) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield archive
    except ZIP_TROUBLE as error:
        raise BundleError(f"expected a zip: {error}") from error


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    entry = archive.NameToInfo.get(name)
    if entry is None:
        raise BundleError(f"{name}: missing")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise BundleError(f"{name}: expected it uncompressed")
    if entry.file_size > limit:
        raise BundleError(f"{name}: expected at most {limit} bytes, got {entry.file_size}")
    return archive.read(entry)


def _parse_npy(
    name: str, data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    stream = io.BytesIO(data)
    try:
        np.lib.format.read_magic(stream)
        found_shape, by_column, found = np.lib.format.read_array_header_1_0(stream)
        if (found, found_shape, by_column) == (dtype, shape, False):
            array: NDArray[Any] = np.frombuffer(data, dtype, offset=stream.tell())
            return array.reshape(shape)
    except (ValueError, TypeError, MemoryError, RecursionError, TokenError) as error:
        raise BundleError(f"{name}: expected an array: {error}") from error
    raise BundleError(f"{name}: expected {dtype} {shape}, got {found} {found_shape}")
