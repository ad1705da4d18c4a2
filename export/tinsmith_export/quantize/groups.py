"""Which tensors have the same quantization parameters, and where these are given."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import RELU, UNCLIPPED, Clipped, Clipping, Node
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.rules import range_rule

Span: TypeAlias = tuple[float, float]
Observed: TypeAlias = Mapping[str, Span]
"""Name to the lowest and the highest value."""
Group: TypeAlias = frozenset[str]
"""The names of layers and inputs that have the same quantization parameters."""


class Groups:
    """The layers of a graph, and its inputs, in groups of the same quantization parameters.

    Args:
        graph: the layers.
        observed: the observed range of each layer that computes new values.
        inputs: the quantization parameters of the graph's inputs.
    """

    def __init__(self, graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]) -> None:
        self._graph, self._of = graph, {name: frozenset([name]) for name in (*inputs, *observed)}
        for node in graph.nodes:
            if range_rule(node).shares:
                self._join(frozenset().union(*(graph.sources(name) for name in node.inputs)))
        clamped = {name: _clamped(graph.node(name), *span) for name, span in observed.items()}
        self.spans: dict[Group, Span] = {}
        """The observed range of each group that has no inputs."""
        self.symmetric: set[Group] = {
            self.of(node.inputs[1]) for node in graph.nodes if range_rule(node).symmetric
        }
        """Groups whose zero point must be 0."""
        self.given: dict[Group, QuantParams] = {}
        """What something else than the observed range says."""
        for group in dict.fromkeys(self._of.values()):
            name = min(group)
            if name in inputs:
                self.given[group] = inputs[name]
                continue
            lows, highs = zip(*(clamped[one] for one in group), strict=True)
            self.spans[group] = min(lows), max(highs)
            if is_given(graph.node(name)):
                fixed = range_rule(graph.node(name)).fixed
                self.given[group] = fixed or QuantParams.covering(*self.spans[group])

    def __iter__(self) -> Iterator[Group]:
        """Each group once."""
        return iter(dict.fromkeys(self._of.values()))

    def of(self, name: str) -> Group:
        """The group whose parameters a node's output has."""
        return self._of[min(self._graph.sources(name))]

    def covering(self, group: Group, scale: float | None = None) -> QuantParams:
        """What covers a group's observed range, with the finest scale that does, or with that."""
        params = QuantParams.symmetric if group in self.symmetric else QuantParams.covering
        return params(*self.spans[group], scale)

    def _join(self, names: Group) -> None:
        """Makes one group of the groups of these names."""
        joined = frozenset().union(*(self._of[name] for name in names))
        self._of.update(dict.fromkeys(joined, joined))


def is_given(node: Node) -> bool:
    """Whether a layer's range is given by something else than calibration."""
    return (
        not node.inputs
        or range_rule(node).fixed is not None
        or clip_of(node) not in (UNCLIPPED, RELU)
    )


def clip_of(node: Node) -> Clipping:
    """The clip of a node, or none."""
    return node.clip if isinstance(node, Clipped) else UNCLIPPED


def _clamped(node: Node, low: float, high: float) -> Span:
    """What calibration saw, but 0 to the highest behind a ReLU: the clamp to code -128 is it."""
    return (0.0 if clip_of(node)[0] == 0 else low), high
