"""What moves or changes the numbers of a concatenation does so to each tensor of it instead."""

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from itertools import accumulate, groupby
from math import prod
from typing import TypeAlias

import numpy as np

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.ops import Affine, Clip, Concatenate, Function, Node, Reshape
from tinsmith_export.ir.unrewritten import LeakyReLU

Moves: TypeAlias = tuple[int, list[tuple[int, Node]]]
"""The axis of the concatenation behind; of each of its tensors which of those before it reads."""


def concatenation(graph: Graph, name: str) -> tuple[Graph, Concatenate] | None:
    """Makes a node the concatenation that it is, or that it can become.

    Args:
        graph: as it was read.
        name: of the node.

    Returns:
        The graph, and the node in it; nothing if there is no such, or something else reads it too.
    """
    node = graph.node(name)
    if graph.only_reader(name) is None:
        return None
    if isinstance(node, Concatenate):
        return graph, node
    found = concatenation(graph, node.inputs[0]) if _can_move(node) else None
    if found is None:
        return None
    graph, before = found
    moves = _moves(node, before, [graph.node(name).shape[before.axis] for name in before.inputs])
    if moves is None:
        return None
    axis, moved = moves
    pieces = [
        replace(piece, name=f"{name}/part{index}", inputs=(before.inputs[source],))
        for index, (source, piece) in enumerate(moved)
    ]
    behind = Concatenate(name, tuple(one.name for one in pieces), node.shape, axis=axis)
    graph = graph.replaced(behind, *pieces)
    return Graph(tuple(one for one in graph.nodes if one.name != before.name)), behind


def _can_move(node: Node) -> bool:
    kinds = Affine | Clip | Function | LeakyReLU | Gather | Reshape | Slice | Transpose
    return isinstance(node, kinds)


def _with(sizes: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    """The sizes with another along an axis."""
    return (*sizes[:axis], size, *sizes[axis + 1 :])


@singledispatch
def _moves(node: Node, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    """How a node moves each tensor, whose sizes along the concatenation's axis are given.

    Nothing where what becomes of a tensor is no block of the whole.
    """
    raise TypeError(f"{node.kind} moves no concatenation")


@_moves.register(Clip)
@_moves.register(Function)
@_moves.register(LeakyReLU)
def _(node: Node, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    shapes = [_with(node.shape, before.axis, size) for size in sizes]
    return before.axis, [(i, replace(node, shape=shape)) for i, shape in enumerate(shapes)]


@_moves.register
def _(node: Affine, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    whole = np.ones(node.shape[-1], np.float32)
    ends = list(accumulate(sizes[:-1])) if before.axis == len(node.shape) - 1 else []
    cut = zip(*(np.split(one * whole, ends) for one in (node.factor, node.offset)), strict=True)
    shapes = [_with(node.shape, before.axis, size) for size in sizes]
    pairs = [*cut] * (1 if len(ends) else len(sizes))
    return before.axis, [
        (i, replace(node, shape=shape, factor=factor, offset=offset))
        for i, (shape, (factor, offset)) in enumerate(zip(shapes, pairs, strict=True))
    ]


@_moves.register
def _(node: Reshape, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    apart, within = prod(before.shape[: before.axis]), prod(before.shape[before.axis + 1 :])
    for axis in range(len(node.shape)):
        block = prod(node.shape[axis + 1 :])
        if prod(node.shape[:axis]) == apart and all(s * within % block == 0 for s in sizes):
            shapes = [_with(node.shape, axis, size * within // block) for size in sizes]
            return axis, [(i, replace(node, shape=shape)) for i, shape in enumerate(shapes)]
    return None


@_moves.register
def _(node: Transpose, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    axis = node.permutation.index(before.axis)
    shapes = [_with(node.shape, axis, size) for size in sizes]
    return axis, [(i, replace(node, shape=shape)) for i, shape in enumerate(shapes)]


@_moves.register
def _(node: Slice, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    axis, size = before.axis, node.shape[before.axis]
    first, step = node.begin[axis], node.steps[axis]
    moved: list[tuple[int, Node]] = []
    for source, places in _runs([first + step * place for place in range(size)], sizes):
        begin, shape = (
            _with(whole, axis, one)
            for whole, one in ((node.begin, places[0]), (node.shape, len(places)))
        )
        moved.append((source, replace(node, begin=begin, shape=shape)))
    return axis, moved


@_moves.register
def _(node: Gather, before: Concatenate, sizes: Sequence[int]) -> Moves | None:
    axis = before.axis
    if node.axis != axis:
        shapes = [_with(node.shape, axis, size) for size in sizes]
        return axis, [(i, replace(node, shape=shape)) for i, shape in enumerate(shapes)]
    return axis, [
        (
            source,
            replace(node, shape=_with(node.shape, axis, len(places)), indices=tuple(places)),
        )
        for source, places in _runs(node.indices, sizes)
    ]


def _runs(indices: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Places of a concatenation that lie in one tensor: which, and the places in that."""
    ends = list(accumulate(sizes))
    found = [next(i for i, end in enumerate(ends) if index < end) for index in indices]
    pairs = [(i, index - ends[i] + sizes[i]) for i, index in zip(found, indices, strict=True)]
    return [(i, [place for _, place in run]) for i, run in groupby(pairs, lambda pair: pair[0])]
