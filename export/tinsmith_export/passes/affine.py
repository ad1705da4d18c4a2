"""Rewrites of affine layers, `factor * x + offset` for each channel.

Batch normalization, a bias, `Rescaling`, `Normalization`, `x + 3` and `x / 6` are all one. Each
goes into a product before or behind it, or becomes a convolution of its own.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.normalization import Normalization
from tinsmith_export.ir.ops import (
    Affine,
    Conv2D,
    Convolution,
    Dense,
    DepthToSpace,
    DepthwiseConv2D,
    Rearrangement,
    Reshape,
    Weighted,
    ZeroPadding2D,
)
from tinsmith_export.passes.convolutions import by_channel
from tinsmith_export.passes.rule import for_each

Vector = NDArray[np.float64]


def affine_of(node: Affine) -> tuple[Vector, Vector]:
    """Factor and offset of an affine layer, `float64 (C,)`."""
    channels = node.shape[-1:]
    factor, offset = (values.astype(np.float64) for values in (node.factor, node.offset))
    return np.broadcast_to(factor, channels), np.broadcast_to(offset, channels)


def scalars_of(node: Affine) -> tuple[float, float] | None:
    """Factor and offset of an affine layer that has one of each for all channels."""
    factor, offset = (np.unique(values) for values in (node.factor, node.offset))
    return (float(factor[0]), float(offset[0])) if factor.size == offset.size == 1 else None


@for_each(Affine)
def merge_affines(graph: Graph, second: Affine) -> Graph:
    """Makes one of two affine layers in a row."""
    first = graph.node(second.inputs[0])
    if not isinstance(first, Affine) or graph.only_reader(first.name) is None:
        return graph
    if first.shape != second.shape:
        return graph
    (f1, o1), (f2, o2) = affine_of(first), affine_of(second)
    joined = replace(second, factor=_f32(f1 * f2), offset=_f32(o1 * f2 + o2))
    return graph.replaced(joined).without(first.name)


@for_each(Affine)
def fold_affine(graph: Graph, affine: Affine) -> Graph:
    """Folds an affine layer into the product before it (Jacob et al. 2018, section 3.2).

    `factor * (w * a + b) + offset` is one product with scaled weights and one bias. Between them
    may stand what only moves values.
    """
    layer, (factor, offset) = graph.node(affine.inputs[0]), affine_of(affine)
    is_one = scalars_of(affine) is not None
    while isinstance(layer, Rearrangement) and graph.only_reader(layer.name) is not None:
        source = graph.node(layer.inputs[0])
        # A block's places lie one after the other in the channels, each with all channels.
        times = source.shape[-1] // len(factor) if isinstance(layer, DepthToSpace) else 1
        factor, offset = np.tile(factor, times), np.tile(offset, times)
        if is_one:
            factor, offset = (np.full(source.shape[-1], values[0]) for values in (factor, offset))
        kept = is_one or (layer.keeps_channels and len(factor) == source.shape[-1])
        layer = source if kept else affine
    if graph.only_reader(layer.name) is None:
        return graph
    folded: Normalization | Weighted
    if isinstance(layer, Normalization):
        folded = replace(
            layer, gamma=_f32(layer.gamma * factor), beta=_f32(layer.beta * factor + offset)
        )
    elif isinstance(layer, Weighted):
        kernel, bias = layer.kernel, 0.0 if layer.bias is None else layer.bias
        # A depthwise kernel is (kh, kw, C, M), its output channel c * M + m.
        depthwise = isinstance(layer, DepthwiseConv2D)
        scale = np.reshape(factor, kernel.shape[2:] if depthwise else (-1,))
        folded = replace(layer, kernel=_f32(kernel * scale), bias=_f32(bias * factor + offset))
    else:
        return graph
    return graph.replaced(folded).without(affine.name)


@for_each(Affine)
def hoist_factor(graph: Graph, affine: Affine) -> Graph:
    """Moves a factor from behind a product of two tensors before the first of them.

    There it can be folded into what comes before, as that of attention into the queries.
    """
    product, scalars = graph.node(affine.inputs[0]), scalars_of(affine)
    if not isinstance(product, MatMul) or graph.only_reader(product.name) is None:
        return graph
    if scalars is None or scalars[1] != 0:
        return graph
    one, other = product.inputs
    factor = replace(affine, inputs=(one,), shape=graph.node(one).shape)
    graph = graph.without(affine.name)
    return graph.replaced(replace(product, inputs=(factor.name, other)), factor)


@for_each(Affine)
def fold_affine_forward(graph: Graph, affine: Affine) -> Graph:
    """Folds an affine layer into the product behind it, `w * (factor * x + offset) + b`.

    Not an offset before a padding: the zeros around the image have none.
    """
    reader, between_pads = graph.only_reader(affine.name), False
    while isinstance(reader, Reshape | ZeroPadding2D):
        between_pads |= isinstance(reader, ZeroPadding2D)
        reader = graph.only_reader(reader.name)
    if not isinstance(reader, Weighted) or (isinstance(reader, Conv2D) and reader.groups > 1):
        return graph
    factor, offset = affine_of(affine)
    pads = isinstance(reader, Convolution) and reader.padding == "same"
    if (pads or between_pads) and np.any(offset):
        return graph
    # Behind a flattening, a dense layer's input channels are those of all places.
    kernel = reader.kernel
    channels = kernel.shape[0 if isinstance(reader, Dense) else 2]
    if channels % len(factor):
        return graph
    factor, offset = (np.tile(v, channels // len(factor)) for v in (factor, offset))
    column = factor.reshape(-1, 1)
    if isinstance(reader, DepthwiseConv2D):
        bias = (kernel.sum((0, 1), dtype=np.float64) * offset.reshape(-1, 1)).reshape(-1)
    else:
        bias = (kernel * offset.reshape(-1, 1)).reshape(-1, kernel.shape[-1]).sum(0)
    before = 0.0 if reader.bias is None else reader.bias
    folded = replace(reader, kernel=_f32(kernel * column), bias=_f32(before + bias))
    return graph.replaced(folded).without(affine.name)


def affine_by_convolution(graph: Graph) -> Graph:
    """Makes an affine layer that nothing could take a depthwise 1 x 1 convolution.

    That keeps a scale for each channel, which a product with one quantized vector would not.
    """
    for node in graph.nodes:
        if not isinstance(node, Affine) or graph.node(node.inputs[0]).shape != node.shape:
            continue
        factor, offset = affine_of(node)
        *before, last = by_channel(node, _f32(factor), _f32(offset))
        graph = graph.replaced(last, *before)
    return graph


def _f32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
