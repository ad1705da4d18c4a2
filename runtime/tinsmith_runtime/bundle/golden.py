"""Golden vectors: real inputs and the int8 outputs that every engine must give for them."""

import io
import math
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinsmith_runtime.batch import Array, Arrays, joined, numbered, parts
from tinsmith_runtime.bundle.schema import Manifest
from tinsmith_runtime.errors import BundleError
from tinsmith_runtime.npy import parse_header
from tinsmith_runtime.npz import open_archive, read_entry

_MAX_HEADER_BYTES = 1 << 10


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Real inputs and what every engine must answer.

    Attributes:
        inputs: `uint8 (N, H, W, C)` of images, `float32 (N, ...)` of features; a tuple of them
            for several inputs. So are the others for several outputs.
        outputs_int8: `int8 (N, ...)`, to be met bit for bit.
        outputs_float: `float32 (N, ...)`, the float model's logits or values.
    """

    inputs: Arrays
    outputs_int8: Arrays
    outputs_float: Arrays


def read_golden(data: bytes, manifest: Manifest) -> GoldenVectors:
    """Reads `golden.npz`; nothing is allocated for an array that is not what it must be.

    Its arrays are called as those of `GoldenVectors`; several of one `inputs_0`, `inputs_1`, ...

    Raises:
        BundleError: an array is missing or does not fit the manifest.
    """
    count, file = manifest.golden.count, manifest.golden.file
    kinds: dict[str, list[tuple[tuple[int, ...], Any]]] = {
        "inputs": [(entry.sample_shape, entry.dtype) for entry in manifest.inputs],
        "outputs_int8": [(output.sample_shape, np.int8) for output in manifest.outputs],
        "outputs_float": [(output.sample_shape, np.float32) for output in manifest.outputs],
    }
    found: dict[str, Arrays] = {}
    try:
        with open_archive(io.BytesIO(data)) as archive:
            for name, tensors in kinds.items():
                keys = numbered(name, len(tensors))
                found[name] = joined(
                    [
                        _read_array(archive, key, np.dtype(dtype), (count, *shape))
                        for key, (shape, dtype) in zip(keys, tensors, strict=True)
                    ]
                )
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from error
    except ValueError as error:
        raise BundleError(f"{file}: expected a zip: {error}") from error
    for entry, array in zip(manifest.inputs, parts(found["inputs"]), strict=True):
        if entry.kind in ("features", "state") and np.isnan(array).any():
            name = f"inputs ({entry.name})" if len(manifest.inputs) > 1 else "inputs"
            raise BundleError(f"{file}: {name}: expected numbers, got NaN")
    return GoldenVectors(**found)


def _read_array(
    archive: zipfile.ZipFile, key: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    name, limit = f"{key}.npy", math.prod(shape) * dtype.itemsize + _MAX_HEADER_BYTES
    entry = archive.NameToInfo.get(name)
    if entry is None:
        raise BundleError(f"{name}: missing")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise BundleError(f"{name}: expected it uncompressed")
    if entry.file_size > limit:
        raise BundleError(f"{name}: expected at most {limit} bytes, got {entry.file_size}")
    data = read_entry(archive, entry)
    try:
        header = parse_header(data)
        if (header.dtype, header.shape, header.order) == (dtype, shape, "C"):
            return header.array(memoryview(data)[header.offset :])
    except ValueError as error:
        raise BundleError(f"{key}: expected an array: {error}") from error
    raise BundleError(f"{key}: expected {dtype} {shape}, got {header.dtype} {header.shape}")
