"""Operators that do not look at an image's rows and columns."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.interpret.operands import Codes, Operands, Values, compute
from tinsmith_export.ir.interpret.rounding import (
    quantize,
    requantize,
    requantized_product,
    requantized_sum,
)
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization, Normalization
from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Concatenate,
    Function,
    Maximum,
    Minimum,
    Multiply,
    Node,
    Reshape,
    Weigh,
    Weighted,
)
from tinsmith_export.ir.quantization import QuantWeights
from tinsmith_export.ir.softmax import exponentials, softmax_codes

FLOAT_FUNCTIONS = (
    *("elu", "softplus", "selu", "softsign"),
    *("exp", "log", "sqrt", "rsqrt", "reciprocal", "thresholded"),
)
"""Functions that LiteRT computes in float; of the others it has a table, the same as here."""


def tolerance_lsb(node: Node, weights: QuantWeights | None) -> int:
    """How far LiteRT may be from the codes of a node here, both from the same codes.

    Args:
        node: the operator.
        weights: its int8 constants; a product without any is kept float.
    """
    in_float = (
        isinstance(node, Normalization | Softmax)
        or (isinstance(node, Function) and node.function in FLOAT_FUNCTIONS)
        or (isinstance(node, Weighted) and weights is None)
    )
    return 1 if in_float else 0


@compute.register
def _(node: Add, operands: Operands) -> Codes:
    one, other = operands.centered
    return requantized_sum(one, other, operands.scales, operands.output)


@compute.register
def _(node: Multiply, operands: Operands) -> Codes:
    one, other = operands.centered
    return requantized_product(one, other, operands.scales, operands.output)


@compute.register
def _(node: MatMul, operands: Operands) -> Codes:
    one, other = (codes.astype(np.float64) for codes in operands.centered)  # sums stay exact
    first, second = map(np.float32, operands.scales)
    scale = first * second / np.float32(operands.output.scale)
    return requantize((one @ other).astype(np.int32), scale, operands.output)


@compute.register
def _(node: Weigh, operands: Operands) -> Codes:
    (codes,), weights = operands.centered, operands.weights
    assert weights is not None
    factor = weights.codes.astype(np.int32) - np.int32(weights.zero_point)
    scales = *operands.scales, float(weights.scale[0])
    return requantized_product(codes, factor, scales, operands.output)


# Klambauer et al. 2017 (arXiv:1706.02515).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# What log and rsqrt take 0 and negative numbers for, the smallest normal float32; and the largest
# number that fits into float32 in steps of any scale.
_TINY, _HUGE = 2.0**-126, 1e30

_FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
    "tanh": np.tanh,
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "selu": lambda x: _SELU_SCALE * np.where(x < 0, _SELU_ALPHA * np.expm1(np.minimum(x, 0)), x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exp": np.exp,
    "log": lambda x: np.log(np.maximum(x, 0) + _TINY),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "rsqrt": lambda x: 1 / np.sqrt(np.maximum(x, 0) + _TINY),
    "reciprocal": lambda x: 1 / np.where(x == 0, _TINY, x),
}


def _values(node: Function, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A function of real numbers."""
    if node.function == "thresholded":
        return np.where(x > np.float32(node.parameter), x, 0)
    found: NDArray[np.float64] = _FUNCTIONS[node.function](x)
    return np.where(x < 0, node.parameter * found, found) if node.function == "elu" else found


@compute.register
def _(node: Function, operands: Operands) -> Codes:
    (codes,), (params,) = operands.codes, operands.params
    every = params.reals(np.arange(-128, 128).astype(np.int8)).astype(np.float64)
    exact = np.clip(_values(node, every), -_HUGE, _HUGE)
    table = quantize(exact, operands.output)
    return table[codes.astype(np.int16) + 128]


@compute.register
def _(node: LayerNormalization, operands: Operands) -> Codes:
    return _normalized(node, operands, operands.reals[0], (-1,), node.centered)


@compute.register
def _(node: GroupNormalization, operands: Operands) -> Codes:
    groups = operands.reals[0].reshape(
        len(operands.codes[0]), -1, node.groups, node.shape[-1] // node.groups
    )
    return _normalized(node, operands, groups, (1, 3), True)


def _normalized(
    node: Normalization,
    operands: Operands,
    reals: NDArray[np.float32],
    axes: tuple[int, ...],
    centered: bool,
) -> Codes:
    """Normalizes over some dimensions."""
    x = reals.astype(np.float64)
    if centered:
        x = x - x.mean(axes, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(axes, keepdims=True) + node.epsilon)
    return quantize(x.reshape(-1, *node.shape) * node.gamma + node.beta, operands.output)


@compute.register
def _(node: Embedding, operands: Operands) -> Codes:
    rows = quantize(node.table, operands.output)
    low, high = np.moveaxis(operands.codes[0].astype(np.int32) + 128, -1, 0)
    found: Codes = rows[np.minimum(low + 256 * high, len(rows) - 1)]
    return found


@compute.register
def _(node: Softmax, operands: Operands) -> Codes:
    return softmax_codes(operands.codes[0], exponentials(operands.scales[0]))


@compute.register
def _(node: Clip, operands: Operands) -> Codes:
    # A clip that stands alone is a ReLU: rewriting makes a convolution of any other.
    (codes,) = operands.codes
    return np.maximum(codes, np.int8(operands.output.zero_point))


@compute.register
def _(node: Concatenate, operands: Operands) -> Codes:
    return np.concatenate(operands.codes, axis=1 + node.axis)


@compute.register
def _(node: Maximum, operands: Operands) -> Codes:
    return np.maximum(*operands.codes)


@compute.register
def _(node: Minimum, operands: Operands) -> Codes:
    return np.minimum(*operands.codes)


@compute.register
def _(node: Reshape, operands: Operands) -> Values:
    (codes,) = operands.codes
    return codes.reshape(-1, *node.shape)


@compute.register
def _(node: Transpose, operands: Operands) -> Values:
    return operands.codes[0].transpose(0, *(axis + 1 for axis in node.permutation))


@compute.register
def _(node: Slice, operands: Operands) -> Values:
    return operands.codes[0][:, *node.slices()]


@compute.register
def _(node: Gather, operands: Operands) -> Values:
    return operands.codes[0].take(node.indices, axis=1 + node.axis)
