"""The shape of each operator's output, in a table by its class."""

from collections.abc import Sequence
from functools import singledispatch
from typing import TypeAlias

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.ops import (
    Concatenate,
    Convolution,
    Dense,
    DepthToSpace,
    InputLayer,
    Node,
    OutputLayer,
    Padding,
    Pair,
    Pointwise,
    Pooling2D,
    Reshape,
    UpSampling2D,
    ZeroPadding2D,
)

Shape: TypeAlias = tuple[int, ...]


def require_shapes(graph: Graph) -> None:
    """Checks the shape that each node of a graph says it has.

    Raises:
        ConversionError: it is not what the node computes.
    """
    for node in graph.nodes:
        expected = output_shape(node, [graph.node(name).shape for name in node.inputs])
        if node.shape != expected:
            raise ConversionError(
                f"layer `{node.name}` ({node.kind}) says that its output is {node.shape}, but "
                f"computes {expected}"
            )


@singledispatch
def output_shape(node: Node, inputs: Sequence[Shape]) -> Shape:
    """The shape of a node's output, without the batch.

    Args:
        node: what computes it.
        inputs: the shapes of what it reads.

    Raises:
        TypeError: its class is not in this table.
    """
    raise TypeError(f"{node.kind} has no rule for its shape")


@output_shape.register(OutputLayer)
@output_shape.register(Pointwise)
def _(node: Node, inputs: Sequence[Shape]) -> Shape:
    """Place by place; what has size 1 is taken for every place."""
    return np.broadcast_shapes(*inputs)


@output_shape.register
def _(node: InputLayer, inputs: Sequence[Shape]) -> Shape:
    return node.shape


@output_shape.register
def _(node: Convolution, inputs: Sequence[Shape]) -> Shape:
    size: Pair = (node.kernel.shape[0], node.kernel.shape[1])
    windows = _windows(inputs[0], size, node.strides, node.padding, node.dilation_rate)
    return *windows, node.channels


@output_shape.register
def _(node: Pooling2D, inputs: Sequence[Shape]) -> Shape:
    windows = _windows(inputs[0], node.pool_size, node.strides, node.padding)
    return *windows, inputs[0][-1]


def _windows(
    image: Shape, size: Pair, strides: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Pair:
    """How many windows there are in rows and columns."""
    counts = []
    for axis in (0, 1):
        reach = 0 if padding == "same" else (size[axis] - 1) * dilation[axis]
        counts.append(-(-(image[axis] - reach) // strides[axis]))
    rows, columns = counts
    return rows, columns


@output_shape.register
def _(node: Dense, inputs: Sequence[Shape]) -> Shape:
    return *inputs[0][:-1], node.channels


@output_shape.register
def _(node: Embedding, inputs: Sequence[Shape]) -> Shape:
    return *inputs[0][:-1], node.table.shape[1]


@output_shape.register
def _(node: MatMul, inputs: Sequence[Shape]) -> Shape:
    one, other = inputs
    return *np.broadcast_shapes(one[:-2], other[:-2]), one[-2], other[-1]


@output_shape.register
def _(node: Concatenate, inputs: Sequence[Shape]) -> Shape:
    first, axis = inputs[0], node.axis
    return *first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :]


@output_shape.register
def _(node: ZeroPadding2D, inputs: Sequence[Shape]) -> Shape:
    (rows, columns, channels), (vertical, horizontal) = inputs[0], node.padding
    return rows + sum(vertical), columns + sum(horizontal), channels


@output_shape.register
def _(node: UpSampling2D, inputs: Sequence[Shape]) -> Shape:
    rows, columns, channels = inputs[0]
    return rows * node.size[0], columns * node.size[1], channels


@output_shape.register
def _(node: DepthToSpace, inputs: Sequence[Shape]) -> Shape:
    rows, columns, channels = inputs[0]
    return rows * node.block, columns * node.block, channels // node.block**2


@output_shape.register
def _(node: Transpose, inputs: Sequence[Shape]) -> Shape:
    return tuple(inputs[0][axis] for axis in node.permutation)


@output_shape.register
def _(node: Slice, inputs: Sequence[Shape]) -> Shape:
    """What it says, if that lies in what it reads."""
    parts = [range(size)[part] for size, part in zip(inputs[0], node.slices(), strict=True)]
    return tuple(map(len, parts))


@output_shape.register
def _(node: Gather, inputs: Sequence[Shape]) -> Shape:
    return *inputs[0][: node.axis], len(node.indices), *inputs[0][node.axis + 1 :]


@output_shape.register
def _(node: Reshape, inputs: Sequence[Shape]) -> Shape:
    """What it says, if it has as many numbers."""
    return node.shape if np.prod(node.shape) == np.prod(inputs[0]) else inputs[0]
