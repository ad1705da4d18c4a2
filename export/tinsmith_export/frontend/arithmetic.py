"""Readers of the operators that compute each number by itself."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.frontend.choices import thresholded
from tinsmith_export.frontend.gathering import spread
from tinsmith_export.frontend.moving import over_last
from tinsmith_export.frontend.reader import Reader, Shape
from tinsmith_export.frontend.trace import BATCH, Operator
from tinsmith_export.ir.attention import Softmax
from tinsmith_export.ir.normalization import LayerNormalization
from tinsmith_export.ir.ops import (
    Add,
    Affine,
    Clip,
    Clipping,
    Function,
    Maximum,
    Minimum,
    Multiply,
    Node,
    Reshape,
)
from tinsmith_export.ir.unrewritten import Above, LeakyReLU

# What a power is made of, at most.
_MOST_FACTORS = 4
# Of two computed tensors; a difference is a sum with the second negated.
_OF_TWO: dict[str, type[Add | Maximum | Minimum | Multiply]] = {
    "Add": Add,
    "AddV2": Add,
    "Sub": Add,
    "Mul": Multiply,
    "Maximum": Maximum,
    "Minimum": Minimum,
    "SquaredDifference": Add,
}


def affine(
    reader: Reader,
    operator: Operator,
    source: Node,
    factor: Any = 1.0,
    offset: Any = 0.0,
    shape: Shape | None = None,
) -> Node:
    """A factor and an offset for every channel, or for all: `float32 (C,)` or `()`.

    Where they have a number for each place of several dimensions, these are made one; where it is
    another dimension than the last, that becomes the last between two transpositions. `shape` is
    that of its output, without the batch, if it is not the operator's.
    """
    factor, offset = np.asarray(factor), np.asarray(offset)
    shape = operator.shape[1:] if shape is None else shape
    if prod(shape) > prod(source.shape):
        source = spread(reader, operator, source, shape)
    count = max(_dimensions(source.shape, values) for values in (factor, offset))
    if count > 1:
        flat_shape = (*source.shape[:-count], prod(source.shape[-count:]))
        flat = reader.add(Reshape(*reader.place(operator, [source], flat_shape)))
        values = factor.reshape(-1), offset.reshape(-1)
        inner = _by_channel(reader, operator, flat, flat_shape, *values)
        return reader.add(Reshape(*reader.place(operator, [inner], source.shape)))
    axis = _channel_axis(source, factor, offset)
    if axis < len(source.shape) - 1 and source.shape == shape:
        values = factor.reshape(-1), offset.reshape(-1)
        return over_last(
            reader,
            operator,
            source,
            axis,
            lambda node: _by_channel(reader, operator, node, node.shape, *values),
        )
    return _by_channel(reader, operator, source, shape, factor, offset)


def _channel_axis(source: Node, *constants: NDArray[Any]) -> int:
    """The dimension that has a number for each place, which is the last but for channels first."""
    for values in constants:
        several = [place - values.ndim for place, size in enumerate(values.shape) if size > 1]
        if len(several) == 1 and several[0] + len(source.shape) >= 0:
            return several[0] + len(source.shape)
    return len(source.shape) - 1


def _by_channel(
    reader: Reader, operator: Operator, source: Node, shape: Shape, factor: Any, offset: Any
) -> Affine:
    found = []
    for values in (factor, offset):
        values = np.asarray(values, np.float32)
        if values.size == 1:
            values = values.reshape(())
        elif values.size == values.shape[-1]:
            values = values.reshape(-1)
        else:
            raise reader.unsupported(operator, "a constant that is not one number a channel")
        found.append(values)
    place = reader.place(operator, [source], shape)
    return reader.add(Affine(*place, factor=found[0], offset=found[1]))


def _dimensions(shape: tuple[int, ...], values: Any) -> int:
    """How many dimensions of a tensor, the last ones, a constant has its own numbers for."""
    sizes = np.shape(values)
    while sizes and sizes[0] == 1:
        sizes = sizes[1:]
    return len(sizes) if sizes == shape[len(shape) - len(sizes) :] else 0


def arithmetic(reader: Reader, operator: Operator) -> Node:
    """An operator of two tensors, or of a tensor and a constant."""
    left, right = (reader.constant(operator, index) for index in (0, 1))
    kind = operator.kind
    if left is None and right is None:
        sources = [reader.source(operator, index) for index in (0, 1)]
        if kind in ("Sub", "SquaredDifference"):
            sources[1] = affine(reader, operator, sources[1], factor=-1.0, shape=sources[1].shape)
        if kind == "Mul" and isinstance(sources[1], Above):
            return thresholded(reader, operator, sources[1], sources[0])
        if kind == "RealDiv":
            return _quotient(reader, operator, *sources)
        if kind not in _OF_TWO:
            raise reader.unsupported(operator, f"{kind} of two computed tensors")
        node = reader.add(_OF_TWO[kind](*reader.place(operator, sources)))
        if kind != "SquaredDifference":
            return node
        return reader.add(Multiply(*reader.place(operator, [node, node])))
    source = reader.source(operator, 0 if left is None else 1)
    values = reader.known(operator, 1 if left is None else 0)
    if kind in ("AddV2", "Add", "BiasAdd"):
        return affine(reader, operator, source, offset=values)
    if kind == "Sub":
        if left is None:
            return affine(reader, operator, source, offset=-np.asarray(values))
        return affine(reader, operator, source, factor=-1.0, offset=values)
    if kind == "Mul":
        return affine(reader, operator, source, factor=values)
    if kind == "RealDiv" and left is None:
        return affine(reader, operator, source, factor=1 / np.asarray(values, np.float32))
    if kind == "RealDiv":
        return affine(reader, operator, _reciprocal(reader, operator, source), factor=values)
    if kind == "SquaredDifference":
        centered = affine(reader, operator, source, offset=-np.asarray(values))
        return reader.add(Multiply(*reader.place(operator, [centered, centered])))
    limits: Clipping = (0.0, None) if kind == "Maximum" else (None, 0.0)
    if np.size(values) == 1:
        limit = float(np.reshape(values, ()))
        limits = (limit, None) if kind == "Maximum" else (None, limit)
        return reader.add(Clip(*reader.place(operator, [source]), clip=limits))
    above = affine(reader, operator, source, offset=-np.asarray(values))
    clipped = reader.add(Clip(*reader.place(operator, [above]), clip=limits))
    return affine(reader, operator, clipped, offset=values)


def negate(reader: Reader, operator: Operator) -> Node:
    """`-x`."""
    return affine(reader, operator, reader.source(operator), factor=-1.0)


def _quotient(reader: Reader, operator: Operator, one: Node, other: Node) -> Node:
    """A quotient of two computed tensors, `x * (1 / y)`: the reciprocal is a function of a code."""
    factors = [one, _reciprocal(reader, operator, other)]
    return reader.add(Multiply(*reader.place(operator, factors)))


def _reciprocal(reader: Reader, operator: Operator, source: Node) -> Node:
    place = reader.place(operator, [source], source.shape)
    return reader.add(Function(*place, function="reciprocal"))


def absolute(reader: Reader, operator: Operator) -> Node:
    """`|x|`, the larger of `x` and `-x`."""
    source = reader.source(operator)
    negative = affine(reader, operator, source, factor=-1.0)
    return reader.add(Maximum(*reader.place(operator, [source, negative])))


def power(reader: Reader, operator: Operator) -> Node:
    """`x ** n`, where `n` is a whole number or a half: products, a root, a reciprocal."""
    source, exponent = reader.source(operator), reader.known(operator, 1)
    times = float(np.reshape(exponent, ())) if np.size(exponent) == 1 else np.nan
    if times in (0.5, -0.5):
        name = "sqrt" if times > 0 else "rsqrt"
        return reader.add(Function(*reader.place(operator, [source]), function=name))
    if times not in (*range(1, _MOST_FACTORS + 1), *range(-_MOST_FACTORS, 0)):
        raise reader.unsupported(
            operator, f"a power of a whole number up to {_MOST_FACTORS}, or a root"
        )
    node = source
    for _ in range(int(abs(times)) - 1):
        node = reader.add(Multiply(*reader.place(operator, [node, source])))
    return _reciprocal(reader, operator, node) if times < 0 else node


def log1p(reader: Reader, operator: Operator) -> Node:
    """`log(1 + x)`."""
    above = affine(reader, operator, reader.source(operator), offset=1.0)
    return reader.add(Function(*reader.place(operator, [above]), function="log"))


def expm1(reader: Reader, operator: Operator) -> Node:
    """`exp(x) - 1`."""
    found = reader.add(Function(*reader.place(operator), function="exp"))
    return affine(reader, operator, found, offset=-1.0)


def square(reader: Reader, operator: Operator) -> Node:
    """`x * x`."""
    source = reader.source(operator)
    return reader.add(Multiply(*reader.place(operator, [source, source])))


def batch_norm(reader: Reader, operator: Operator) -> Node:
    """Batch normalization: a factor and an offset for each channel."""
    if operator.settings["is_training"]:
        return _layer_norm(reader, operator)
    source = reader.image(operator)
    gamma, beta, mean, variance = (
        reader.weights(operator, index).astype(np.float64) for index in range(1, 5)
    )
    factor = gamma / np.sqrt(variance + operator.settings["epsilon"])
    return affine(reader, operator, source, factor, beta - mean * factor)


def _layer_norm(reader: Reader, operator: Operator) -> Node:
    """How tf_keras spells layer normalization: as that of a batch whose channels are the places."""
    source, shape = reader.source(operator), operator.shape
    channels, places = source.shape[-1], BATCH * int(np.prod(source.shape[:-1]))
    plain = np.all(reader.weights(operator, 1) == 1) and not np.any(reader.weights(operator, 2))
    if shape != (1, places, channels, 1) or operator.settings["data_format"] != b"NCHW":
        raise reader.unsupported(operator, "statistics of the batch")
    if not plain:
        raise reader.unsupported(operator, "one scale and one offset a channel")
    return reader.add(
        LayerNormalization(
            *reader.place(operator, shape=source.shape),
            gamma=np.ones(channels, np.float32),
            beta=np.zeros(channels, np.float32),
            epsilon=operator.settings["epsilon"],
        )
    )


def clip(low: float | None, high: float | None) -> Callable[[Reader, Operator], Node]:
    """Gives the reader of a clip between two limits."""
    return lambda reader, operator: reader.add(Clip(*reader.place(operator), clip=(low, high)))


def function(name: str) -> Callable[[Reader, Operator], Node]:
    """Gives the reader of a function of that name."""
    return lambda reader, operator: reader.add(Function(*reader.place(operator), function=name))


def leaky_relu(reader: Reader, operator: Operator) -> Node:
    """A leaky ReLU."""
    slope = operator.settings["alpha"]
    return reader.add(LeakyReLU(*reader.place(operator), negative_slope=slope))


def softmax(reader: Reader, operator: Operator) -> Node:
    """Softmax along the last dimension; TensorFlow turns another one there before it."""
    return reader.add(Softmax(*reader.place(operator)))
