"""The order of channels becomes part of the product behind it: `image[..., ::-1]` costs nothing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather, Slice
from tinsmith_export.ir.ops import (
    Affine,
    Conv2D,
    Dense,
    Node,
    Rearrangement,
    Reshape,
    ZeroPadding2D,
)
from tinsmith_export.passes.rule import for_each


@for_each(Rearrangement)
def fold_channel_order(graph: Graph, node: Rearrangement) -> Graph:
    """Has a product take the channels in the order that they had before.

    Between them may stand what treats each channel alone: paddings, affine layers, a flattening.
    """
    order = _order(graph.node(node.inputs[0]), node)
    if order is None:
        return graph
    affines, reader = list[Affine](), graph.only_reader(node.name)
    while isinstance(reader, Affine | Reshape | ZeroPadding2D):
        if isinstance(reader, Affine):
            if not {reader.factor.size, reader.offset.size} <= {1, len(order)}:
                return graph
            affines.append(reader)
        reader = graph.only_reader(reader.name)
    if not isinstance(reader, Conv2D | Dense) or (isinstance(reader, Conv2D) and reader.groups > 1):
        return graph
    axis = 0 if isinstance(reader, Dense) else 2
    channels = reader.kernel.shape[axis]
    if channels % len(order):
        return graph
    # Behind a flattening, the channels of all places lie one after the other.
    places = [start + before for start in range(0, channels, len(order)) for before in order]
    graph = graph.replaced(replace(reader, kernel=np.take(reader.kernel, places, axis)))
    for affine in affines:
        factor, offset = (_ordered(values, order) for values in (affine.factor, affine.offset))
        graph = graph.replaced(replace(affine, factor=factor, offset=offset))
    return graph.without(node.name)


def _order(source: Node, node: Node) -> Sequence[int] | None:
    """Of each channel before, which one it becomes, where that is all that a node does."""
    if source.shape != node.shape:
        return None
    channels = np.arange(node.shape[-1])
    if isinstance(node, Gather) and not node.keeps_channels:
        taken = np.asarray(node.indices)
    elif isinstance(node, Slice) and not any(node.begin[:-1]) and {*node.steps[:-1]} <= {1}:
        taken = channels[node.slices()[-1]]
    else:
        return None
    order = np.argsort(taken)
    return order.tolist() if np.array_equal(taken[order], channels) else None


def _ordered(values: NDArray[np.float32], order: Sequence[int]) -> NDArray[np.float32]:
    return values[list(order)] if values.size > 1 else values
