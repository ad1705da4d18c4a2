"""The quantization parameters of every tensor, and which tensors share them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import (
    RELU,
    UNCLIPPED,
    Add,
    Clipped,
    Clipping,
    Concatenate,
    Function,
    Multiply,
    Node,
    Reshape,
)
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.passes.convolutions import as_image, identity

# How close to the middle between two codes a sum or a product of two codes may come. The engines
# compute in different arithmetic: XNNPACK adds in 21 bits, all else is float32, where a product of
# 255 codes is off by at most three roundings, 255 * 3 * 2^-24. In the middle itself they round to
# even before the zero point is added, or after.
_SUMS, _SUM_MARGIN = np.arange(1, 511), 5e-4
_PRODUCTS, _PRODUCT_MARGIN = (
    np.unique(np.multiply.outer(np.arange(1, 256), np.arange(1, 256))),
    5e-5,
)
# What a scale is multiplied by where it comes too close.
_AWAY = 1 + 2.0**-12
# What TFLite's kernels give, whatever goes in.
_FIXED = {"sigmoid": (2.0**-8, -128), "tanh": (2.0**-7, 0)}


def separate(graph: Graph) -> Graph:
    """Rounds anew what cannot take a range or a scale from what it meets.

    In a concatenation all parts have one range, in a sum both have one scale: so neither has
    anything to round that the engines could round differently.
    """
    for name in [node.name for node in graph.nodes if isinstance(node, Add | Concatenate)]:
        node = graph.node(name)
        sources = {edge: _ranged(graph, edge) for edge in node.inputs}
        anew = any(_stuck(source) for found in sources.values() for source in found)
        if anew and isinstance(node, Add) and len(node.shape) != 3:
            # TensorFlow's converter fails on a sum right behind two reshapes of what is rounded
            # anew: "op quantization parameters violate the same scale constraint".
            graph, node = _by_image(graph, node)
            name, sources = node.name, {edge: _ranged(graph, edge) for edge in node.inputs}
        clips = {_clip(source) == RELU for found in sources.values() for source in found}
        mixed = isinstance(node, Concatenate) and len(clips) > 1
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
    return not node.inputs or _fixed(node) is not None or _clip(node) not in (UNCLIPPED, RELU)


def _clip(node: Node) -> Clipping:
    return node.clip if isinstance(node, Clipped) else UNCLIPPED


def _fixed(node: Node) -> tuple[float, int] | None:
    """Scale and zero point of what is the same whatever goes in."""
    return _FIXED.get(node.function) if isinstance(node, Function) else None


def share_ranges(
    graph: Graph, limits: Mapping[str, tuple[float, float]], inputs: Mapping[str, QuantParams]
) -> dict[str, QuantParams]:
    """Chooses the range of every layer.

    Args:
        graph: from `separate`.
        limits: lowest and highest output of each layer with a range of its own.
        inputs: input name to range.

    Returns:
        Name to range, of every layer, input and output.
    """
    limits = {name: _limits(graph.node(name), *span) for name, span in limits.items()}
    whole, scales = _Groups(limits), _Groups(limits)  # that share a range; a scale
    for node in graph.nodes:
        if isinstance(node, Concatenate):
            sources = graph.sources(node.name)
            whole.join(sources)
            scales.join(sources)
        elif isinstance(node, Add):
            scales.join(frozenset().union(*(graph.sources(name) for name in node.inputs)))
    spans = {
        name: (min(limits[n][0] for n in group), max(limits[n][1] for n in group))
        for name, group in whole.items()
    }
    scale = {
        group: max(QuantParams.covering(*spans[name]).scale for name in group)
        for group in set(scales.values())
    }

    def scale_of(name: str) -> float:
        first = min(graph.sources(name))
        fixed = _fixed(graph.node(first))
        if fixed or first not in scales:
            return fixed[0] if fixed else inputs[first].scale
        return scale[scales[first]]

    def ties(node: Node) -> bool:
        out = scale[scales[node.name]]
        if isinstance(node, Add):
            ratio = scale_of(node.inputs[0]) / out
            return ratio != 1 and _near_middle(_SUMS * ratio, _SUM_MARGIN)
        if isinstance(node, Multiply):
            ratio = scale_of(node.inputs[0]) * scale_of(node.inputs[1]) / out
            return _near_middle(_PRODUCTS * ratio, _PRODUCT_MARGIN)
        return False

    while close := {scales[node.name] for node in graph.requantized if ties(node)}:
        for group in close:
            scale[group] = float(np.float32(scale[group] * _AWAY))
    ranges = dict(inputs)
    for name, span in spans.items():
        fixed = _fixed(graph.node(name))
        ranges[name] = (
            QuantParams(*fixed) if fixed else QuantParams.covering(*span, scale[scales[name]])
        )
    for node in graph.nodes:
        ranges.setdefault(node.name, ranges[min(graph.sources(node.name))])
    return ranges


def _limits(node: Node, low: float, high: float) -> tuple[float, float]:
    """What calibration saw, but 0 to the highest behind a ReLU: the clamp to code -128 is it."""
    return (0.0 if _clip(node)[0] == 0 else low), high


def _near_middle(codes: NDArray[Any], margin: float) -> bool:
    """Whether one of these comes close to the middle between two codes."""
    inside = codes[codes < 256]
    return bool(np.min(np.abs(inside % 1 - 0.5), initial=1.0) < margin)


class _Groups(dict[str, frozenset[str]]):
    """Name to the group that it is in; at first each is alone."""

    def __init__(self, names: Mapping[str, object]) -> None:
        super().__init__({name: frozenset([name]) for name in names})

    def join(self, names: frozenset[str]) -> None:
        """Makes one group of the groups of these names."""
        joined = frozenset().union(*(self[name] for name in names))
        self.update(dict.fromkeys(joined, joined))
