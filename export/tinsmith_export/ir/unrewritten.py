"""Operators that a graph has as it was read, and that rewriting takes away, or refuses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Node, Pointwise


@dataclass(frozen=True, eq=False, kw_only=True)
class LeakyReLU(Pointwise):
    """`x`, or `negative_slope * x` where that is negative."""

    negative_slope: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Above(Node):
    """Whether a number is above a threshold; see `frontend.arithmetic.select`."""

    threshold: float


@dataclass(frozen=True, eq=False, kw_only=True)
class SpaceToBatch(Node):
    """Where TensorFlow begins a dilated convolution; see `frontend.products`.

    Attributes:
        block: `int (2,)`, the dilation.
        amounts: `int (2, 2)`, zeros before and after rows and columns.
    """

    block: NDArray[np.int64]
    amounts: NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Refused(Node):
    """What cannot be compiled. It stays until all such layers are known, which are refused at once.

    Attributes:
        reason: a layer's name, what stands in the way, what to do; empty where another operator of
            the layer says it, or where what it reads is refused and has no shape that is known.
    """

    reason: str
