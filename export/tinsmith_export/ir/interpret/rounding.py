"""From sums and products back to codes: the three rules, and what float becomes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.interpret.operands import Codes
from tinsmith_export.ir.quantization import QuantParams

_MULTIPLIER_BITS = 21
# What XNNPACK takes. LiteRT gives anything else to kernels of its own, which round otherwise.
_MAX_SCALE, _MIN_SUM_SCALE = 2.0**8, 2.0**-10


def requantize(
    sums: NDArray[np.int32], scale: np.float32 | NDArray[np.float32], output: QuantParams
) -> Codes:
    """Rounds products, or sums of them, to codes.

    Args:
        sums: the channels last.
        scale: how many output codes 1 is: one number, or one a channel.
        output: what the codes stand for.

    Raises:
        ConversionError: XNNPACK does not take the scale.
    """
    if np.max(scale) >= _MAX_SCALE:
        raise ConversionError(f"expected products of under 256 codes, got {np.max(scale):g}")
    return saturated(np.rint(sums.astype(np.float32) * scale), output)


def requantized_product(
    one: NDArray[np.int32], other: NDArray[np.int32], scales: Sequence[float], output: QuantParams
) -> Codes:
    """Multiplies codes less their zero points, of two scales.

    Raises:
        ConversionError: as `requantize`.
    """
    first, second = map(np.float32, scales)
    return requantize(one * other, first * second / np.float32(output.scale), output)


def requantized_sum(
    one: NDArray[np.int32], other: NDArray[np.int32], scales: Sequence[float], output: QuantParams
) -> Codes:
    """Adds codes less their zero points, of two scales.

    Raises:
        ConversionError: XNNPACK does not take the larger scale.
    """
    return scaled_sum(one, other, sum_factors(scales, output), output)


def scaled_sum(
    one: NDArray[np.int32], other: NDArray[np.int32], factors: Sequence[int], output: QuantParams
) -> Codes:
    """Adds codes less their zero points; `factors` are those of `sum_factors`."""
    first, second, shift = factors
    half = np.int32(1 << (shift - 1))
    return saturated((one * np.int32(first) + other * np.int32(second) + half) >> shift, output)


def sum_factors(scales: Sequence[float], output: QuantParams) -> tuple[int, int, int]:
    """The integers that the codes of a sum are multiplied by, and the bits that it is shifted by.

    Raises:
        ConversionError: XNNPACK does not take the larger scale.
    """
    ratios = [np.float32(scale) / np.float32(output.scale) for scale in scales]
    larger = max(ratios)
    if not _MIN_SUM_SCALE <= larger < _MAX_SCALE:
        raise ConversionError(f"expected summands of 2^-10 to 256 codes, got {larger:g}")
    _, exponent = np.frexp(larger)  # 2^(exponent - 1) <= larger < 2^exponent
    shift = _MULTIPLIER_BITS - int(exponent)
    first, second = (int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return first, second, shift


def quantize(values: NDArray[Any], output: QuantParams) -> Codes:
    """Rounds real numbers to codes."""
    return saturated(np.rint(values.astype(np.float32) / np.float32(output.scale)), output)


def saturated(steps: NDArray[Any], output: QuantParams) -> Codes:
    """The codes that are so many steps away from zero, or the nearest that there are."""
    low, high = -128 - output.zero_point, 127 - output.zero_point
    codes: Codes = (np.clip(steps, low, high) + output.zero_point).astype(np.int8)
    return codes
