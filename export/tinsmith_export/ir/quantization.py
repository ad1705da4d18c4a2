"""What int8 codes stand for.

The arithmetic is that of Jacob et al. 2018 (arXiv:1712.05877): `real = (int8 - zero_point) *
scale`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph

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
    def covering(cls, low: float, high: float, scale: float | None = None) -> "QuantParams":
        """What covers `low` to `high`, with the finest scale that does, or with that one."""
        low, high = min(low, 0.0), max(high, 0.0)
        if scale is None:
            scale = float(np.float32(max((high - low) / 255, _MIN_SCALE)))
        return cls(scale, min(127, max(-128, round(-128 - low / scale))))

    @classmethod
    def symmetric(cls, low: float, high: float, scale: float | None = None) -> "QuantParams":
        """As `covering`, with zero point 0."""
        if scale is None:
            scale = float(np.float32(max(-low / 128, high / 127, _MIN_SCALE)))
        return cls(scale, 0)

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


@dataclass(frozen=True, eq=False)
class QuantWeights:
    """The int8 constants of a layer, as every file has them.

    Attributes:
        codes: `int8`, in the layout of `Weighted.channel_kernel`, or of the factor of a `Weigh`.
        scale: of the weights, `float32 (channels,)` or `(1,)`.
        zero_point: 0, but for a `Weigh`.
        bias: `int32 (channels,)` in steps of the input's scale times `scale`, or none.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    zero_point: int = 0
    bias: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class QuantGraph:
    """All that decides the codes that a model gives, whatever file and engine it is for.

    Attributes:
        graph: its operators; what a layer has as floats counts only where it is kept float.
        params: what the codes of each node's output stand for, by the node's name.
        weights: of each layer that multiplies by constants, by its name; one that is kept float
            has none.
        unrounded: the nodes whose output is float instead of codes.
    """

    graph: Graph
    params: Mapping[str, QuantParams]
    weights: Mapping[str, QuantWeights]
    unrounded: frozenset[str] = frozenset()
