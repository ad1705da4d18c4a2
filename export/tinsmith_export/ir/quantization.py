"""What int8 codes stand for.

The arithmetic is that of Jacob et al. 2018 (arXiv:1712.05877): `real = (int8 - zero_point) *
scale`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# TensorFlow's converter takes a range narrower than 1e-6 for zero. So does this: what lies so
# close to zero rounds to it.
_MIN_SCALE = 2.0**-27


@dataclass(frozen=True)
class QuantParams:
    """The real values that the int8 codes of a tensor stand for; zero is one of them.

    The scale is a `float32`, as the files have it.
    """

    scale: float
    zero_point: int

    @classmethod
    def covering(cls, low: float, high: float, scale: float = 0.0) -> "QuantParams":
        """The finest grid, though not finer than `scale`, on which `low` to `high` lie."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max(scale, (high - low) / 255, _MIN_SCALE)))
        return cls(scale, min(127, max(-128, round(-128 - low / scale))))

    @property
    def low(self) -> float:
        """The real value of code -128."""
        return (-128 - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The real value of code 127."""
        return (127 - self.zero_point) * self.scale

    def reals(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """What codes stand for."""
        return (codes.astype(np.float32) - self.zero_point) * np.float32(self.scale)
