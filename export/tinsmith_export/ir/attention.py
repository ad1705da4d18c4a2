"""The operators of attention that multiply by no weights."""

from dataclasses import dataclass
from typing import ClassVar

from tinsmith_export.ir.ops import Clipped, Pointwise


@dataclass(frozen=True, eq=False)
class MatMul(Clipped):
    """The product of the matrices of two tensors, `(…, T, K)` and `(…, K, M)`.

    The dimensions before these are broadcast. The codes of the second have zero point 0.
    """

    requantizes: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class Softmax(Pointwise):
    """`exp(x)`, over its sum along the last dimension."""

    requantizes: ClassVar[bool] = True
    may_compute_in_float: ClassVar[bool] = True
