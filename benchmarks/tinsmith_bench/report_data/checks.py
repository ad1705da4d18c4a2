"""What the checks of a report are made of: each gives what is wrong, with its path."""

import base64
import binascii
from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from tinsmith_bench.report_data.estimate import Estimate

Problems = Iterator[tuple[str, str, object]]
"""The path, what was expected there, and what came."""

ROUNDING = 1e-9
"""A bootstrap's ends may miss the value by rounding."""


def ordered(path: str, one: Estimate, least: float, most: float) -> Problems:
    """An estimate must lie in its interval, and that between two numbers."""
    slack = ROUNDING * abs(one.value)
    is_ordered = one.low <= one.value + slack and one.value <= one.high + slack
    if not is_ordered or one.low < least or one.high > most:
        yield path, f"{least:g} <= low <= value <= high <= {most:g}", (one.low, one.value, one.high)


def between(path: str, value: float, least: float, most: float) -> Problems:
    """A value must lie between two numbers."""
    if not least <= value <= most:
        yield path, f"a number from {least:g} to {most:g}", value


def unique(path: str, items: Sequence[Any]) -> Problems:
    """No item may come twice."""
    if twice := [item for item, times in Counter(items).items() if times > 1]:
        yield path, "each once", twice


def pixels(path: str, shape: tuple[int, ...], encoded: str) -> Problems:
    """Pixels in base64 must be those of an image of this shape; none of the shape `()`."""
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        size = -1
    good = not shape or (len(shape) == 3 and all(0 < side < 5000 for side in shape))
    if not good or size != (prod(shape) if shape else 0):
        yield f"{path}.pixels", f"those of an image of {shape}", encoded
