"""Features: float inputs of any shape, and how they become the engine's integers."""

import math
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import InputError
from tinsmith_runtime.npy import read_npy


def read_features(features: object, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Brings one sample of features to the model's input.

    Args:
        features: numbers of exactly the model's shape, or the path of a `.npy` file of them.
        shape: the model's, without the batch.

    Returns:
        `float32` of that shape.

    Raises:
        InputError: the shape, dtype or content does not fit.
        UsageError: there is no such file.
    """
    name = "features"
    if isinstance(features, str | PathLike):
        name, features = str(features), read_npy(features)
    if not isinstance(features, np.ndarray):
        raise InputError(
            f"{name}: expected an array of numbers or the path of a .npy file; "
            f"got {type(features).__name__}"
        )
    return check_features(name, features, shape)


def check_features(
    name: str, array: NDArray[Any], shape: tuple[int, ...], last: float | None = None
) -> NDArray[np.float32]:
    """Gives numbers as `float32`; with `last` they are ids from 0 to that.

    Raises:
        InputError: they are not of `shape`, not numbers, or NaN, for which int8 has no code.
    """
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, got {array.shape}")
    if array.dtype != np.float32:
        if array.dtype.kind not in "fiu":
            raise InputError(f"{name}: expected float32 features, got {array.dtype}")
        with np.errstate(
            over="ignore"
        ):  # a float64 beyond float32 becomes infinite, and is clipped
            array = array.astype(np.float32)
    # NaN is the minimum where one is; to look in each place takes twice as long.
    if array.size and math.isnan(np.minimum.reduce(array, axis=None)):
        raise InputError(f"{name}: expected numbers, got NaN")
    if last is not None and (array != np.clip(np.rint(array), 0, last)).any():
        raise InputError(f"{name}: expected ids from 0 to {last:g}, got others")
    return array


def id_bytes(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """The lower byte of each id and the higher, `uint8`."""
    return ids.astype("<u2")[..., np.newaxis].view(np.uint8)


def quantize(features: NDArray[np.float32], scale: float, zero_point: int) -> NDArray[np.int8]:
    """Rounds half to even and clips, all in `float32`, as `Input.zero_point` says.

    Args:
        features: of any shape, without NaN.
        scale: of the input.
        zero_point: of the input, -128 to 127.

    Returns:
        `int8` of the same shape.
    """
    return quantizer(scale, zero_point, np.dtype(np.int8))(features)


def quantizer(
    scale: float, zero_point: int, dtype: np.dtype[Any] | str
) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    """Makes a function that does as `quantize`, and gives `int8`, or `uint8`: the same plus 128."""
    step = np.float32(scale)
    low, high = step * np.float32(-128 - zero_point), step * np.float32(127 - zero_point)
    shift = np.float32(zero_point + (128 if dtype == "uint8" else 0))

    def codes(features: NDArray[np.float32]) -> NDArray[Any]:
        reals = np.maximum(features, low)  # clipped first, so that no quotient overflows
        np.minimum(reals, high, out=reals)
        np.divide(reals, step, reals)
        np.rint(reals, reals)
        np.add(reals, shift, reals)
        return reals.astype(dtype)

    return codes
