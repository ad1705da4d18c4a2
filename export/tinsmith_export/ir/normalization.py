"""Operators that normalize: by the mean and the deviation of many numbers."""

from dataclasses import dataclass
from typing import ClassVar

from tinsmith_export.ir.ops import Clipped, Floats, Pointwise


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalization(Clipped, Pointwise):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`, the latter `float32 (C,)`."""

    gamma: Floats
    beta: Floats
    epsilon: float

    requantizes: ClassVar[bool] = True
    may_compute_in_float: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerNormalization(Normalization):
    """Normalization of each place over its channels (Ba et al. 2016).

    Attributes:
        centered: whether the mean is that; 0 otherwise (RMS normalization, Zhang et al. 2019).
    """

    centered: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupNormalization(Normalization):
    """Normalization of each group of channels over all places (Wu et al. 2018).

    Attributes:
        groups: how many there are, of `C / groups` channels each.
    """

    groups: int
