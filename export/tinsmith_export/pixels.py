"""What a Keras model takes for pixels: one map for each channel, said in one of three ways.

| option | a channel's value of pixel `p` |
|---|---|
| `input_range` | `low + p * (high - low) / 255` |
| `mean`, `std` | `(p - mean) / std` |
| `preprocess` | that of `keras.applications.imagenet_utils.preprocess_input` with this mode |
"""

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from tinsmith_data.limits import is_real, require
from tinsmith_runtime.bundle import PixelRanges
from tinsmith_runtime.errors import UsageError

CHANNELS = ("rgb", "bgr")
MODES = ("tf", "torch", "caffe")

_MOST_CHANNELS = 16


def pixel_ranges(
    input_range: tuple[float, float] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    channels: str | None,
    preprocess: str | None,
) -> PixelRanges:
    """What a model takes for pixels; see `Options` for the arguments.

    Raises:
        UsageError: one cannot be, or two of them say the same thing.
    """
    require(channels in (*CHANNELS, None), "channels", " or ".join(CHANNELS), channels)
    require(preprocess in (*MODES, None), "preprocess", " or ".join(MODES), preprocess)
    normalized = mean is not None or std is not None
    if preprocess is not None:
        if normalized or input_range is not None or channels is not None:
            raise UsageError(
                f"preprocess: expected {preprocess} alone, which says range, mean, std and "
                "channels, got one of these too: leave one out"
            )
        return _of_mode(preprocess)
    order = channels or "rgb"
    if normalized:
        if input_range is not None:
            raise UsageError("input_range: expected it or mean and std, got both: leave one out")
        return PixelRanges(_of_mean(mean, std), order)
    pair = (0.0, 1.0) if input_range is None else input_range
    fits = "two finite numbers, LOW < HIGH, that float32 can tell apart"
    require(_is_range(pair), "input_range", fits, pair)
    low, high = map(float, pair)
    return PixelRanges(((low, high),), order)


def _of_mode(mode: str) -> PixelRanges:
    """Keras's conventions; their means and deviations are those of ImageNet."""
    if mode == "tf":
        return PixelRanges(((-1.0, 1.0),))
    if mode == "caffe":
        return PixelRanges(_of_mean((103.939, 116.779, 123.68), None), "bgr")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return PixelRanges(tuple((-m / s, (1 - m) / s) for m, s in zip(mean, std, strict=True)))


def _of_mean(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, float], ...]:
    means, stds = (0.0,) if mean is None else mean, (1.0,) if std is None else std
    require(_are_reals(means), "mean", "a finite number, or one for each channel", means)
    positive = _are_reals(stds) and min(stds) > 0
    require(positive, "std", "a finite number above 0, or one for each channel", stds)
    if len(means) != len(stds) and 1 not in (len(means), len(stds)):
        raise UsageError(
            f"std: expected {len(means)} numbers, as many as mean has, got {len(stds)}"
        )
    for name, small in (("std", min(stds) < 1), ("mean", all(0 < value < 1 for value in means))):
        if small:
            raise UsageError(
                f"{name}: expected numbers for pixels 0 to 255, got some for 0 to 1: give 255 "
                "times mean and std (ImageNet's: --preprocess torch)"
            )
    count = max(len(means), len(stds))
    pairs = zip(_as_many(means, count), _as_many(stds, count), strict=True)
    ranges = tuple((float(-m / s), float((255 - m) / s)) for m, s in pairs)
    fits = "numbers that float32 can tell pixels apart with"
    require(all(map(_is_range, ranges)), "mean" if std is None else "std", fits, (means, stds))
    return ranges


def _as_many(values: Sequence[float], count: int) -> Sequence[float]:
    return tuple(values) * (count // len(values))


def _are_reals(values: object) -> TypeGuard[Sequence[float]]:
    if not isinstance(values, tuple | list):
        return False
    return 1 <= len(values) <= _MOST_CHANNELS and all(map(is_real, values))


def _is_range(value: object) -> TypeGuard[tuple[float, float]]:
    """Whether a value is two numbers that 256 steps of float32 lie between."""
    if not (isinstance(value, tuple | list) and len(value) == 2 and all(map(is_real, value))):
        return False
    low, high = value
    limits = np.finfo(np.float32)
    step = (high - low) / 255
    return bool(limits.tiny <= step <= limits.max / 255 and max(-low, high) <= limits.max)
