"""What a user says, held to its limits before any work begins."""

import math
import reprlib
from typing import TypeGuard

from tinsmith_runtime.errors import UsageError

MOST = 2**31 - 1
"""The largest number of anything: engines and TensorFlow count in 32 bits."""

MAX_SEED = 2**32 - 1
"""numpy takes no larger one."""


def require(fits: bool, name: str, expected: str, value: object) -> None:
    """Raises a `UsageError` of one line unless a value fits.

    Args:
        fits: whether it does.
        name: of the field.
        expected: what would fit.
        value: what came.
    """
    if not fits:
        raise UsageError(f"{name}: expected {expected}, got {reprlib.repr(value)}")


def is_whole(value: object, least: int, most: int = MOST) -> bool:
    """Whether a value is an `int` in these limits; `True` is none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_real(value: object) -> TypeGuard[float]:
    """Whether a value is a number, neither NaN nor infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an `int` that no float can hold
        return False


def require_whole(name: str, value: object, least: int, most: int = MOST) -> None:
    """Raises a `UsageError` unless a value is an `int` in these limits."""
    require(is_whole(value, least, most), name, f"a whole number from {least} to {most}", value)


def require_real(name: str, value: object, low: float, high: float) -> None:
    """Raises a `UsageError` unless a value is a number in these limits."""
    fits = is_real(value) and low <= value <= high
    require(fits, name, f"a number from {low:g} to {high:g}", value)
