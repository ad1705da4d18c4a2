"""Rewrites of transpositions: as few as there can be, and those as late as they can be.

A model whose channels come first is read with two around each convolution. Behind these rewrites,
one at its input is left.
"""

from dataclasses import replace

import numpy as np

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.ops import (
    Add,
    Affine,
    Clip,
    Concatenate,
    Function,
    Maximum,
    Minimum,
    Multiply,
    Node,
    Reshape,
)
from tinsmith_export.ir.unrewritten import LeakyReLU
from tinsmith_export.passes.affine import scalars_of
from tinsmith_export.passes.rule import for_each

_ANY_ORDER = (*(Add, Clip, Concatenate, Function, LeakyReLU, Maximum, Minimum, Multiply),)


def move_transpositions(graph: Graph) -> Graph:
    """Moves transpositions behind what computes place by place, and joins those that meet."""
    before = None
    while graph != before:
        before = graph
        graph = sink_transpositions(join_transpositions(graph)).pruned()
    return reshape_unmoved(graph)


@for_each(Transpose)
def join_transpositions(graph: Graph, node: Transpose) -> Graph:
    """Makes one transposition of two in a row; the first stays for others that read it."""
    source = graph.node(node.inputs[0])
    if not isinstance(source, Transpose):
        return graph
    axes = tuple(source.permutation[axis] for axis in node.permutation)
    if axes == tuple(range(len(axes))):
        return _reading(graph, node.name, source.inputs[0])
    return graph.replaced(replace(node, inputs=source.inputs, permutation=axes))


def sink_transpositions(graph: Graph) -> Graph:
    """Computes before a transposition what may be computed in any order of dimensions."""
    for name in [node.name for node in graph.nodes]:
        node = graph.node(name)
        sources = [graph.node(source) for source in node.inputs]
        orders = {one.permutation if isinstance(one, Transpose) else () for one in sources}
        late = f"{name}/order"
        if len(orders) != 1 or () in orders or not _in_any_order(node) or late in _names(graph):
            continue
        (axes,) = orders
        shape = tuple(node.shape[axes.index(place)] for place in range(len(axes)))
        inputs = tuple(one.inputs[0] for one in sources)
        early = replace(node, inputs=inputs, shape=shape)
        if isinstance(early, Concatenate):
            early = replace(early, axis=axes[early.axis])
        if isinstance(early, Affine):
            factor, offset = early.factor.reshape(-1)[0], early.offset.reshape(-1)[0]
            early = replace(early, factor=np.asarray(factor), offset=np.asarray(offset))
        transposed = Transpose(late, (name,), node.shape, permutation=axes)
        graph = graph.replaced(early).inserted(early, transposed)
    return graph


@for_each(Transpose)
def reshape_unmoved(graph: Graph, node: Transpose) -> Graph:
    """Makes a reshape of a transposition that moves nothing but dimensions of size 1."""
    shape = graph.node(node.inputs[0]).shape
    several = [axis for axis in node.permutation if shape[axis] > 1]
    if several == sorted(several):
        graph = graph.replaced(Reshape(node.name, node.inputs, node.shape))
    return graph


def _in_any_order(node: Node) -> bool:
    """Whether a node may compute with the dimensions of all its inputs in another order."""
    if isinstance(node, Affine):
        return scalars_of(node) is not None
    return isinstance(node, _ANY_ORDER)


def _names(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes}


def _reading(graph: Graph, old: str, new: str) -> Graph:
    """Lets what reads one node read another."""
    return Graph(
        tuple(
            replace(node, inputs=tuple(new if name == old else name for name in node.inputs))
            if old in node.inputs
            else node
            for node in graph.nodes
        )
    )
