"""Scales whose ratios have an odd denominator, so that no sum or product is hard to round.

Engines disagree on a sum or a product where it lies in the middle between two codes, or closer to
it than their arithmetic is exact. In steps of the output's scale, a sum of codes is `(a * m + b *
n) / q` if the scales of its branches are m/q and n/q of the output's; a product is `a * b * m / q`.
With an odd q none of these is k + 1/2, and the nearest is 1 / (2 q) away. So q may be as large as
that distance is larger than any engine's error.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scales: TypeAlias = tuple[float, float, float]
"""Of one branch, of the other, and of the output."""
Fixed: TypeAlias = tuple[bool, bool, bool]
"""Which of these are given."""

LARGEST_CODE = 255
"""The largest code less its zero point."""

_ODD = np.arange(1, 2048, 2)
_ROUNDING = 2.0**-24  # of a float32, relative
# XNNPACK takes sums whose larger summand has 2^-10 to 256 codes of the output a code, and products
# of under 256. Half of that is left to what rounding and a range chosen anew may add.
_LEAST_RATIO, _MOST_RATIO = 2.0**-10, 2.0**7
# What is a whole number but for the rounding of float32 scales counts as one.
_SLACK = 1e-6


def sum_error(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """How far an engine's sum may be from the sum of real numbers, in codes of the output.

    XNNPACK multiplies by integers of 21 bits. ONNX Runtime adds in float32 on x86 (it multiplies
    codes and zero points by the ratios, and adds these up), and on ARM multiplies by integers of 22
    bits.

    Args:
        one: the scale of a branch in parts of the output's.
        other: that of the other branch.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    reach = LARGEST_CODE * (one + other)
    _, exponent = np.frexp(np.maximum(one, other))  # the larger is 2^(exponent - 1) or more
    # Each multiplier is half a step off, and the ratio itself, a float32, half an ulp.
    integers = LARGEST_CODE * np.ldexp(1.0, exponent - 21) + reach * _ROUNDING
    # The ratios, products with the zero points, their sum, the zero point, two codes: six times.
    floats = (6 * reach + 3 * (LARGEST_CODE + 1)) * _ROUNDING
    return np.asarray(np.maximum(integers, floats))


# The product of the scales, the quotient, the product with the codes, the zero point; or, between
# DequantizeLinear and QuantizeLinear, two reals, their product, the quotient.
PRODUCT_ERROR = 4 * (LARGEST_CODE + 1) * _ROUNDING
"""How far an engine's product of two codes may be off, in codes of the output."""


def sum_scales(wanted: Scales, fixed: Fixed) -> Scales | None:
    """Chooses the scales of a sum, as little coarser than wanted as possible.

    Args:
        wanted: the finest scale of each.
        fixed: which of these stay as they are: at most one, or several of the same scale.

    Returns:
        `float32` values, or none if there are no such scales.
    """
    one, other, output = wanted
    least = output if fixed[2] else max(output, one / _MOST_RATIO, other / _MOST_RATIO)
    outputs = np.full(_ODD.shape, least)
    if not fixed[2] and (fixed[0] or fixed[1]):
        source = one if fixed[0] else other
        outputs = source * _ODD / _at_least_one(_ODD * source / least)
    first, second = (
        np.ceil(_ODD * scale / outputs * (1 - _SLACK)) / _ODD for scale in (one, other)
    )
    larger = np.maximum(first, second)
    # Three float32 scales: two roundings in each ratio.
    error = sum_error(first, second) + 2 * _ROUNDING * LARGEST_CODE * (first + second)
    exact = (error < 0.5 / _ODD) & (larger >= _LEAST_RATIO) & (larger < 2 * _MOST_RATIO)
    return _least_coarse(wanted, np.array([outputs * first, outputs * second, outputs]), exact)


def product_scales(wanted: Scales, fixed: Fixed) -> Scales | None:
    """Chooses the one scale of a product that is free, as little coarser than wanted as possible.

    Its denominators need no bound: the largest here is 2047, and 1 / 4094 is more than twice the
    error of the engines, `PRODUCT_ERROR`, and of three float32 scales.

    Args:
        wanted: the finest scale of each.
        fixed: all but one of these stay as they are.

    Returns:
        `float32` values, or none if there are no such scales.
    """
    one, other, output = wanted
    found = np.array(wanted)[:, None].repeat(len(_ODD), axis=1)
    free = fixed.index(False)
    if free == 2:
        least = max(output, one * other / _MOST_RATIO)
        found[2] = one * other * _ODD / _at_least_one(_ODD * one * other / least)
    else:
        mate = other if free == 0 else one
        parts = np.ceil(_ODD * wanted[free] * mate / output * (1 - _SLACK)) / _ODD
        found[free] = parts * output / mate
    return _least_coarse(wanted, found, found[0] * found[1] / found[2] < 2 * _MOST_RATIO)


def _at_least_one(parts: NDArray[Any]) -> NDArray[np.float64]:
    return np.maximum(np.floor(parts * (1 + _SLACK)), 1)


def _least_coarse(
    wanted: Scales, found: NDArray[np.float64], exact: NDArray[np.bool_]
) -> Scales | None:
    """Of the scales `(3, choices)` that are exact, those that are closest to what is wanted."""
    times = found / np.array(wanted)[:, None]
    covers = np.min(times, axis=0) > 1 - 2 * _SLACK
    coarser = np.where(exact & covers, np.max(times, axis=0), np.inf)
    best = int(coarser.argmin())
    if not np.isfinite(coarser[best]):
        return None
    one, other, output = (float(np.float32(scale)) for scale in found[:, best])
    return one, other, output
