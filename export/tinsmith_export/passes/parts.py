"""An output that joins tensors of very different ranges becomes outputs, each with its own scale.

In int8 one scale would serve all that is joined, and the smaller would have few codes. The runtime
joins them again, in float: `docs/decisions/joined-outputs.md`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Concatenate, Node, OutputLayer
from tinsmith_export.passes.concatenations import concatenation
from tinsmith_runtime.batch import Array, Arrays, joined, parts

# What has more than half of the codes that a scale of its own would give it loses less than a bit.
RANGE_RATIO = 2


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an output.

    Attributes:
        name: of the node that gives it.
        start: where its first number stands in the output, the batch not counted.
        values: what it gives, `(N, …)`.
    """

    name: str
    start: tuple[int, ...]
    values: Array


def joins(graph: Graph) -> bool:
    """Whether an output may have parts."""
    return any(concatenation(graph, output.inputs[0]) for output in graph.answers)


def part_joined(graph: Graph, values: Arrays, most: int) -> Graph:
    """Takes outputs apart where what they join has very different ranges.

    Args:
        graph: as it was read.
        values: what it gives for some inputs before activations, `(N, …)` for each answer.
        most: how many outputs there may be; what would be more stays joined.
    """
    for output, array in zip(graph.answers, parts(values), strict=True):
        # A softmax goes over the last axis: it needs whole rows.
        rows = output.activation == "softmax"
        parted, found = _parts(graph, output.inputs[0], array, rows)
        if 1 < len(found) <= most + 1 - len(graph.outputs):
            graph = _with_outputs(parted, output, found).pruned()
    return graph


def cut(answers: Sequence[OutputLayer], whole: Arrays) -> Arrays:
    """Cuts what the Keras model gives, `(N, …)` each, into what the graph gives."""
    names = dict.fromkeys(node.part_of or node.title for node in answers)
    arrays = dict(zip(names, parts(whole), strict=True))
    return joined(
        [
            _piece(arrays[node.part_of], node.start, node.shape)
            if node.part_of
            else arrays[node.title]
            for node in answers
        ]
    )


def _piece(array: Array, start: Sequence[int], size: Sequence[int]) -> Array:
    ends = (slice(at, at + count) for at, count in zip(start, size, strict=True))
    place: tuple[Any, ...] = (..., *ends)
    found: Array = array[place]
    return found


def _parts(graph: Graph, name: str, values: Array, rows: bool) -> tuple[Graph, list[Part]]:
    """What a node is joined of, as far as that needs scales of its own; or the node itself.

    If `rows`, the last axis stays whole.
    """
    whole = [Part(name, (0,) * len(graph.node(name).shape), values)]
    found = concatenation(graph, name)
    if found is None or (rows and found[1].axis == values.ndim - 2):
        return graph, whole
    parted, node = found
    groups: list[list[Part]] = []
    divided = False
    for source, start in zip(node.inputs, _starts(parted, node), strict=True):
        piece = _piece(values, start, parted.node(source).shape)
        parted, inner = _parts(parted, source, piece, rows)
        moved = [replace(one, start=_sum(start, one.start)) for one in inner]
        if len(moved) > 1:
            groups += [[one] for one in moved]
        elif groups and not divided and _are_alike([*groups[-1], *moved]):
            groups[-1] += moved
        else:
            groups.append(moved)
        divided = len(moved) > 1
    if len(groups) == 1:
        return graph, whole
    return _rejoined(parted, node, groups)


def _rejoined(
    graph: Graph, node: Concatenate, groups: Sequence[Sequence[Part]]
) -> tuple[Graph, list[Part]]:
    """The graph with a smaller concatenation for each group of several parts, and these."""
    found = []
    for index, group in enumerate(groups):
        first = group[0]
        if len(group) > 1:
            names = tuple(one.name for one in group)
            values = np.concatenate([one.values for one in group], node.axis - len(node.shape))
            shape = values.shape[-len(node.shape) :]
            smaller = replace(node, name=f"{node.name}/joined{index}", inputs=names, shape=shape)
            graph = graph.replaced(graph.node(node.name), smaller)
            first = Part(smaller.name, first.start, values)
        found.append(first)
    return graph, found


def _are_alike(group: Sequence[Part]) -> bool:
    """Whether one scale may serve all; what is always 0 fits any."""
    low = min(part.values.min() for part in group)
    high = max(part.values.max() for part in group)
    widths = [width for part in group if (width := _width(part.values.min(), part.values.max()))]
    return not widths or _width(low, high) <= RANGE_RATIO * min(widths)


def _width(low: float, high: float) -> float:
    """What int8 codes have to cover, which is 0 too."""
    return float(max(high, 0) - min(low, 0))


def _with_outputs(graph: Graph, output: OutputLayer, found: Sequence[Part]) -> Graph:
    """The graph with an output for each part in the place of the output."""
    taken = {node.title for node in graph.outputs} | {node.name for node in graph.inputs}
    outputs = []
    for index, part in enumerate(found):
        title = f"{output.title}_{index}"
        while title in taken:
            title += "_"
        taken.add(title)
        outputs.append(
            replace(
                output,
                name=f"{output.name}{index}",
                inputs=(part.name,),
                shape=graph.node(part.name).shape,
                title=title,
                part_of=output.part_of or output.title,
                start=_sum(output.start, part.start) if output.part_of else part.start,
            )
        )
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += outputs if node.name == output.name else (node,)
    return Graph(tuple(nodes))


def _starts(graph: Graph, node: Concatenate) -> Iterator[tuple[int, ...]]:
    """Where each tensor begins in what a concatenation gives."""
    sizes = [graph.node(name).shape[node.axis] for name in node.inputs]
    for begin in accumulate(sizes[:-1], initial=0):
        yield tuple(begin if axis == node.axis else 0 for axis in range(len(node.shape)))


def _sum(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
