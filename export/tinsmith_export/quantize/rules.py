"""How the quantization parameters of an operator's output come about, in a table by its class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Function,
    InputLayer,
    Joined,
    LayerNormalization,
    MaxPooling2D,
    Multiply,
    Node,
    OutputLayer,
    Rearrangement,
    Weigh,
    Weighted,
    ZeroPadding2D,
)
from tinsmith_export.ir.quantization import QuantParams

# How close to the middle between two codes a sum or a product of two codes may come. The engines
# compute in different arithmetic: XNNPACK adds in 21 bits, all else is float32, where a product of
# 255 codes is off by at most three roundings, 255 * 3 * 2^-24. In the middle itself they round to
# even before the zero point is added, or after.
_SUMS, _SUM_MARGIN = np.arange(1, 511), 5e-4
_PRODUCTS, _PRODUCT_MARGIN = (
    np.unique(np.multiply.outer(np.arange(1, 256), np.arange(1, 256))),
    5e-5,
)
# What TFLite's kernels give, whatever goes in.
_FIXED = {"sigmoid": QuantParams(2.0**-8, -128), "tanh": QuantParams(2.0**-7, 0)}

Ties = Callable[[Sequence[float], float], bool]


@dataclass(frozen=True)
class RangeRule:
    """How the quantization parameters of an operator's output come about.

    Attributes:
        shares: what the tensors that it reads must have in common: the scale, or all parameters.
        fixed: what they are, whatever goes in.
        ties: whether, by the scales of its inputs and of its output, some result comes so close
            to the middle between two codes that the engines may round it differently.
    """

    shares: Literal["nothing", "scale", "params"] = "nothing"
    fixed: QuantParams | None = None
    ties: Ties = lambda inputs, output: False


@singledispatch
def range_rule(node: Node) -> RangeRule:
    """The rule of a node.

    Raises:
        TypeError: its class is not in this table.
    """
    raise TypeError(f"{node.kind} has no rule for its range")


@range_rule.register(LayerNormalization)
@range_rule.register(Weigh)
@range_rule.register(Weighted)
def _(node: Node) -> RangeRule:
    """The observed range of its output, by itself."""
    return RangeRule()


@range_rule.register(Clip)
@range_rule.register(InputLayer)
@range_rule.register(MaxPooling2D)
@range_rule.register(OutputLayer)
@range_rule.register(Rearrangement)
@range_rule.register(ZeroPadding2D)
def _(node: Node) -> RangeRule:
    """Those of what it reads, or what an input was given."""
    return RangeRule()


@range_rule.register
def _(node: Joined) -> RangeRule:
    return RangeRule(shares="params")


@range_rule.register
def _(node: Add) -> RangeRule:
    def ties(inputs: Sequence[float], output: float) -> bool:
        ratio = inputs[0] / output
        return ratio != 1 and _near_middle(_SUMS * ratio, _SUM_MARGIN)

    return RangeRule(shares="scale", ties=ties)


@range_rule.register
def _(node: Multiply) -> RangeRule:
    def ties(inputs: Sequence[float], output: float) -> bool:
        return _near_middle(_PRODUCTS * (inputs[0] * inputs[1] / output), _PRODUCT_MARGIN)

    return RangeRule(ties=ties)


@range_rule.register
def _(node: Function) -> RangeRule:
    return RangeRule(fixed=_FIXED.get(node.function))


def _near_middle(codes: NDArray[Any], margin: float) -> bool:
    """Whether one of these comes close to the middle between two codes."""
    inside = codes[codes < 256]
    return bool(np.min(np.abs(inside % 1 - 0.5), initial=1.0) < margin)
