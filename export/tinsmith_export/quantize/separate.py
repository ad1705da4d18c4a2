"""Requantizes what cannot take the quantization parameters that an operator needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import RELU, UNCLIPPED, Add, Multiply, Node, Reshape
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.passes.convolutions import as_image, identity
from tinsmith_export.quantize.branches import ConflictError, choose_scales
from tinsmith_export.quantize.groups import Groups, Observed, Span, clip_of, is_given
from tinsmith_export.quantize.rules import range_rule

# So much coarser than a branch whose scale is given may the rest of a sum be. Odd denominators go
# up to 1000 or more for that: this leaves room for observed ranges that are chosen anew later.
_MOST_COARSE = 64
# How far an observed range may reach beyond what fixed parameters cover: by rounding alone.
_ROOM = 1.001


def separate(
    graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]
) -> tuple[Graph, dict[str, Span]]:
    """Requantizes, by a convolution that changes nothing, what has parameters that do not fit.

    All parts of a concatenation have the same. The second factor of a `MatMul` has zero point 0. Of
    the scales of a sum one may be given, of those of a product two.

    Args:
        graph: a rewritten graph.
        observed: the observed range of each layer that computes new values.
        inputs: the quantization parameters of each input, by its name.

    Returns:
        The graph, and the observed ranges of its layers.
    """
    requantizing = _Requantizing(graph, observed, inputs)
    for name in [node.name for node in graph.nodes if range_rule(node).shares]:
        requantizing.join(name)
    for name in [node.name for node in graph.nodes if range_rule(node).symmetric]:
        requantizing.make_symmetric(name)
    while True:
        groups = Groups(requantizing.graph, requantizing.observed, inputs)
        try:
            choose_scales(requantizing.graph, groups, _MOST_COARSE)
        except ConflictError as conflict:
            requantizing.add(conflict.node, conflict.branch)
        else:
            return requantizing.graph, requantizing.observed


class _Requantizing:
    """A graph, and convolutions that are added to it."""

    def __init__(self, graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]) -> None:
        self.graph, self.observed = graph, dict(observed)
        self._inputs = inputs

    def join(self, name: str) -> None:
        """Requantizes what has parameters of its own, and a ReLU that meets something else."""
        node = self.graph.node(name)
        sources = {edge: self._sources(edge) for edge in node.inputs}
        clips = {clip_of(source) == RELU for found in sources.values() for source in found}
        if self._fit_fixed([source for found in sources.values() for source in found]):
            return
        for edge, found in sources.items():
            relu = len(clips) > 1 and any(clip_of(source) == RELU for source in found)
            if relu or any(map(is_given, found)):
                self.add(self.graph.node(name), edge)

    def _fit_fixed(self, sources: Sequence[Node]) -> bool:
        """Whether all may have the parameters that some have whatever goes in."""
        fixed = {range_rule(source).fixed for source in sources if is_given(source)}
        if len(fixed) != 1 or None in fixed:
            return False
        (params,) = fixed
        spans = [self._span(source) for source in sources if not is_given(source)]
        return (
            params is not None
            and all(clip_of(source) == UNCLIPPED for source in sources if source.requantizes)
            and all(
                low >= params.low * _ROOM and high <= params.high * _ROOM for low, high in spans
            )
        )

    def make_symmetric(self, name: str) -> None:
        """Requantizes the second tensor of a node, if its zero point cannot be 0.

        A ReLU is the clamp to the lowest code, which so stands for 0.
        """
        edge = self.graph.node(name).inputs[1]
        sources = self._sources(edge)
        if any(is_given(source) or clip_of(source) != UNCLIPPED for source in sources):
            self.add(self.graph.node(name), edge)

    def add(self, node: Node, edge: str) -> None:
        """Requantizes what a node reads."""
        shapes = {self.graph.node(name).shape for name in node.inputs}
        if isinstance(node, Add | Multiply) and len(node.shape) != 3 and shapes == {node.shape}:
            # TensorFlow's converter fails on a sum or a product right behind reshapes of what is
            # rounded again: "op quantization parameters violate the same scale constraint".
            index = node.inputs.index(edge)
            node = self._by_image(node)
            edge = node.inputs[index]
        spans = [self._span(source) for source in self._sources(edge)]
        number = sum(name.startswith(f"{node.name}/input") for name in node.inputs)
        name = f"{node.name}/input{number or ''}"
        before = identity(Node(name, (edge,), self.graph.node(edge).shape))
        # An edge may stand in a node twice: x + x, where both have one scale; x * x, where one has.
        again = isinstance(node, Add | MatMul) or range_rule(node).shares
        inputs = list(node.inputs)
        for index in [i for i, one in enumerate(inputs) if one == edge][: None if again else 1]:
            inputs[index] = name
        self.graph = self.graph.replaced(replace(node, inputs=tuple(inputs)), *before)
        (middle,) = (one for one in before if one.requantizes)
        lows, highs = zip(*spans, strict=True)
        self.observed[middle.name] = min(lows), max(highs)

    def _by_image(self, node: Add | Multiply) -> Node:
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
        self.observed[inner.name] = self.observed.pop(node.name)
        self.graph = self.graph.replaced(
            Reshape(node.name, (inner.name,), node.shape), *before, inner
        )
        return inner

    def _sources(self, edge: str) -> list[Node]:
        return [self.graph.node(source) for source in sorted(self.graph.sources(edge))]

    def _span(self, source: Node) -> Span:
        if source.name in self._inputs:
            params = self._inputs[source.name]
            return params.low, params.high
        return self.observed[source.name]
