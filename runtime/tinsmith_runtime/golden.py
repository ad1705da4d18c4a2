"""Golden vectors: real inputs and the int8 outputs that every engine must give for them."""

import io
import math
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.archive import unpack
from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.manifest import Manifest

_MAX_HEADER_BYTES = 1 << 10


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Real inputs and what every engine must answer.

    Attributes:
        inputs: `uint8 (N, H, W, C)`.
        outputs_int8: `int8 (N, classes)`, to be met bit for bit.
        outputs_float: `float32 (N, classes)`, the float model's logits.
    """

    inputs: NDArray[np.uint8]
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
    inputs = (count, *(size or 0 for size in manifest.input.shape[1:]))
    outputs = (count, len(manifest.output.labels))
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "inputs": (np.uint8, inputs),
        "outputs_int8": (np.int8, outputs),
        "outputs_float": (np.float32, outputs),
    }
    arrays = {}
    try:
        with unpack(io.BytesIO(data)) as (_, read):
            for key, (kind, shape) in expected.items():
                size_bytes = math.prod(shape) * np.dtype(kind).itemsize
                file = read(f"{key}.npy", size_bytes + _MAX_HEADER_BYTES)
                arrays[key] = _parse_npy(key, file, np.dtype(kind), shape)
    except BundleError as error:
        raise BundleError(f"{manifest.golden.file}: {error}") from error
    return GoldenVectors(**arrays)


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
