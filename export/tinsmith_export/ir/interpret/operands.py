"""What an operator is computed from, and the table of what computes it."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Node
from tinsmith_export.ir.quantization import QuantParams, QuantWeights

Codes: TypeAlias = NDArray[np.int8]
Values: TypeAlias = NDArray[Any]
"""Codes, or `float32` numbers that are not rounded."""


@dataclass(frozen=True, eq=False)
class Operands:
    """What an operator is computed from.

    Attributes:
        codes: of each tensor that it reads, `int8 (N, …)`; `float32` where that is not rounded.
        params: what these stand for.
        output: what its own codes stand for.
        weights: its int8 constants, if it has any.
        rounds: whether its output is codes.
    """

    codes: tuple[Values, ...]
    params: tuple[QuantParams, ...]
    output: QuantParams
    weights: QuantWeights | None
    rounds: bool = True

    @property
    def scales(self) -> tuple[float, ...]:
        """Of each tensor that it reads."""
        return tuple(params.scale for params in self.params)

    @property
    def centered(self) -> list[NDArray[np.int32]]:
        """The codes less their zero points."""
        pairs = zip(self.codes, self.params, strict=True)
        return [codes.astype(np.int32) - np.int32(params.zero_point) for codes, params in pairs]

    @property
    def reals(self) -> list[NDArray[np.float32]]:
        """What the codes stand for, or what there is instead of them."""
        return [
            codes if codes.dtype == np.float32 else params.reals(codes)
            for codes, params in zip(self.codes, self.params, strict=True)
        ]


@singledispatch
def compute(node: Node, operands: Operands) -> Values:
    """Computes the codes of one operator, `int8 (N, …)`; `float32` where they are not rounded.

    Raises:
        TypeError: it has no form in integers; rewriting takes it away.
    """
    raise TypeError(f"{node.kind} has no form in integers")
