"""The quantization parameters of every tensor, and which tensors share them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import (
    RELU,
    UNCLIPPED,
    Add,
    Clipped,
    Clipping,
    Node,
    Reshape,
)
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.passes.convolutions import as_image, identity
from tinsmith_export.quantize.rules import range_rule

# What a scale is multiplied by where it comes too close.
_AWAY = 1 + 2.0**-12

Observed = Mapping[str, tuple[float, float]]
"""Name to the lowest and the highest value."""


def separate(graph: Graph) -> Graph:
    """Requantizes what cannot take a range or a scale from what it meets.

    All parts of a concatenation have the same quantization parameters, both sides of a sum the same
    scale: so neither has anything to round that the engines could round differently.
    """
    for name in [node.name for node in graph.nodes if range_rule(node).shares != "nothing"]:
        node = graph.node(name)
        sources = {edge: _ranged(graph, edge) for edge in node.inputs}
        stuck_any = any(_stuck(source) for found in sources.values() for source in found)
        if stuck_any and isinstance(node, Add) and len(node.shape) != 3:
            # TensorFlow's converter fails on a sum right behind two reshapes of what is rounded
            # again: "op quantization parameters violate the same scale constraint".
            graph, node = _by_image(graph, node)
            name, sources = node.name, {edge: _ranged(graph, edge) for edge in node.inputs}
        clips = {_clip(source) == RELU for found in sources.values() for source in found}
        mixed = range_rule(node).shares == "params" and len(clips) > 1
        inputs: list[str] = []
        before: list[Node] = []
        for edge, found in sources.items():
            stuck = any(_stuck(source) or (mixed and _clip(source) == RELU) for source in found)
            if stuck:
                tail = str(len(set(inputs) - sources.keys()) or "")
                before += identity(Node(f"{name}/input{tail}", (edge,), graph.node(edge).shape))
            inputs.append(before[-1].name if stuck else edge)
        if before:
            # An edge may stand in a sum twice: x + x.
            renamed = dict(zip(sources, inputs, strict=True))
            inputs = [renamed[edge] for edge in node.inputs]
            graph = graph.replaced(replace(node, inputs=tuple(inputs)), *before)
    return graph


def _by_image(graph: Graph, node: Node) -> tuple[Graph, Node]:
    """Computes a node on what is no image as one on an image, and gives that too."""
    rows = as_image(node.shape)
    edges = dict.fromkeys(node.inputs)
    before = [
        Reshape(f"{node.name}/image{number or ''}", (edge,), rows)
        for number, edge in enumerate(edges)
    ]
    names = {edge: reshape.name for edge, reshape in zip(edges, before, strict=True)}
    inputs = tuple(names[edge] for edge in node.inputs)
    inner = replace(node, name=f"{node.name}/sum", inputs=inputs, shape=rows)
    last = Reshape(node.name, (inner.name,), node.shape)
    return graph.replaced(last, *before, inner), inner


def _ranged(graph: Graph, name: str) -> list[Node]:
    return [graph.node(source) for source in sorted(graph.sources(name))]


def _stuck(node: Node) -> bool:
    """Whether a layer's range is given by something else than calibration."""
    return (
        not node.inputs
        or range_rule(node).fixed is not None
        or _clip(node) not in (UNCLIPPED, RELU)
    )


def _clip(node: Node) -> Clipping:
    return node.clip if isinstance(node, Clipped) else UNCLIPPED


def share_ranges(
    graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]
) -> dict[str, QuantParams]:
    """Chooses the quantization parameters of every layer.

    Args:
        graph: from `separate`.
        observed: the observed range of each layer that computes new values.
        inputs: those of each input, by its name.

    Returns:
        Those of every layer, input and output, by name.
    """
    observed = {name: _clamped(graph.node(name), *span) for name, span in observed.items()}
    ranges, scales = _groups(graph, observed)
    observed = _joined(ranges, observed)
    chosen = _Scales(graph, scales, _finest(scales, observed), inputs)
    chosen.keep_off_ties()
    params = dict(inputs)
    for name, span in observed.items():
        fixed = range_rule(graph.node(name)).fixed
        params[name] = fixed or QuantParams.covering(*span, chosen.of_group(name))
    for node in graph.nodes:
        params.setdefault(node.name, params[min(graph.sources(node.name))])
    return params


def _groups(graph: Graph, observed: Observed) -> tuple["_Groups", "_Groups"]:
    """Which layers share all quantization parameters, and which share a scale."""
    ranges, scales = _Groups(observed), _Groups(observed)
    for node in graph.nodes:
        shares = range_rule(node).shares
        if shares == "nothing":
            continue
        sources = frozenset().union(*(graph.sources(name) for name in node.inputs))
        scales.join(sources)
        if shares == "params":
            ranges.join(sources)
    return ranges, scales


def _joined(groups: "_Groups", observed: Observed) -> dict[str, tuple[float, float]]:
    """The range of each layer, which takes in those of all of its group."""
    return {
        name: (min(observed[n][0] for n in group), max(observed[n][1] for n in group))
        for name, group in groups.items()
    }


def _finest(groups: "_Groups", observed: Observed) -> dict[frozenset[str], float]:
    """The finest scale of each group on which the ranges of all of it lie."""
    return {
        group: max(QuantParams.covering(*observed[name]).scale for name in group)
        for group in set(groups.values())
    }


class _Scales:
    """The scale of each group of layers that share one.

    Args:
        graph: the layers.
        groups: layer to its group.
        scales: group to the scale that it begins with.
        inputs: the quantization parameters of the graph's inputs.
    """

    def __init__(
        self,
        graph: Graph,
        groups: "_Groups",
        scales: dict[frozenset[str], float],
        inputs: Mapping[str, QuantParams],
    ) -> None:
        self._graph, self._groups, self._scales = graph, groups, scales
        self._inputs = inputs

    def of_group(self, name: str) -> float:
        """The scale of a layer's group."""
        return self._scales[self._groups[name]]

    def keep_off_ties(self) -> None:
        """Makes scales a little coarser, until no layer gives what engines round differently."""
        while close := {self._groups[n.name] for n in self._graph.requantized if self._ties(n)}:
            for group in close:
                self._scales[group] = float(np.float32(self._scales[group] * _AWAY))

    def _ties(self, node: Node) -> bool:
        inputs = [self._of(name) for name in node.inputs]
        return range_rule(node).ties(inputs, self.of_group(node.name))

    def _of(self, name: str) -> float:
        """The scale of a tensor, whatever it comes from."""
        first = min(self._graph.sources(name))
        fixed = range_rule(self._graph.node(first)).fixed
        if fixed:
            return fixed.scale
        return self.of_group(first) if first in self._groups else self._inputs[first].scale


def _clamped(node: Node, low: float, high: float) -> tuple[float, float]:
    """What calibration saw, but 0 to the highest behind a ReLU: the clamp to code -128 is it."""
    return (0.0 if _clip(node)[0] == 0 else low), high


class _Groups(dict[str, frozenset[str]]):
    """Name to the group that it is in; at first each is alone."""

    def __init__(self, names: Mapping[str, object]) -> None:
        super().__init__({name: frozenset([name]) for name in names})

    def join(self, names: frozenset[str]) -> None:
        """Makes one group of the groups of these names."""
        joined = frozenset().union(*(self[name] for name in names))
        self.update(dict.fromkeys(joined, joined))
