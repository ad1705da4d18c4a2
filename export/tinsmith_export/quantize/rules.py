"""How the quantization parameters of an operator's output come about, in a table by its class."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.normalization import Normalization
from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Function,
    InputLayer,
    Joined,
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
from tinsmith_export.ir.softmax import SOFTMAX_PARAMS

# What TFLite's kernels give, whatever goes in.
_FIXED = {"sigmoid": QuantParams(2.0**-8, -128), "tanh": QuantParams(2.0**-7, 0)}


@dataclass(frozen=True)
class RangeRule:
    """How the quantization parameters of an operator's output come about.

    Attributes:
        shares: whether the tensors that it reads must have the same.
        fixed: what they are, whatever goes in.
        branches: what it computes of two tensors: their scales and that of its output must have
            certain ratios.
        symmetric: whether the second tensor that it reads must have zero point 0.
    """

    shares: bool = False
    fixed: QuantParams | None = None
    branches: Literal["none", "sum", "product"] = "none"
    symmetric: bool = False


@singledispatch
def range_rule(node: Node) -> RangeRule:
    """The rule of a node.

    Raises:
        TypeError: its class is not in this table.
    """
    raise TypeError(f"{node.kind} has no rule for its range")


@range_rule.register(Normalization)
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
    return RangeRule(shares=True)


@range_rule.register
def _(node: Add) -> RangeRule:
    return RangeRule(branches="sum")


@range_rule.register
def _(node: Multiply) -> RangeRule:
    return RangeRule(branches="product")


@range_rule.register
def _(node: MatMul) -> RangeRule:
    # XNNPACK has a kernel for such alone: docs/decisions/second-factor-is-symmetric.md.
    return RangeRule(symmetric=True)


@range_rule.register
def _(node: Softmax) -> RangeRule:
    return RangeRule(fixed=SOFTMAX_PARAMS)


@range_rule.register
def _(node: Embedding) -> RangeRule:
    """That of the whole table: calibration data may not name each of its rows."""
    low, high = float(node.table.min()), float(node.table.max())
    return RangeRule(fixed=QuantParams.covering(min(low, 0.0), max(high, 0.0)))


@range_rule.register
def _(node: Function) -> RangeRule:
    return RangeRule(fixed=_FIXED.get(node.function))
