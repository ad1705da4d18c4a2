"""The inputs of recurrent layers, made as large as their states.

Both are joined, and so have one scale. The finest that covers the larger would leave the smaller
few codes. Cross-layer equalization, Nagel et al. 2019 (arXiv:1906.04721), section 4.1.
"""

from dataclasses import replace

import numpy as np

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Concatenate, DepthwiseConv2D, InputLayer, Node, Weighted
from tinsmith_export.quantize.groups import Observed, Span
from tinsmith_export.quantize.rules import range_rule


def balance(graph: Graph, observed: Observed) -> tuple[Graph, dict[str, Span]]:
    """Scales the input of each recurrent layer, and divides the weights that it meets by as much.

    Args:
        graph: a rewritten graph.
        observed: the observed range of each layer that computes new values.

    Returns:
        The graph, which gives the same, and the observed ranges of its layers.
    """
    found, states = dict(observed), dict[str, float]()
    for node in graph.nodes:
        if isinstance(node, Concatenate) and _is_step(graph, node):
            source, state = (graph.sources(name) for name in node.inputs)
            name = min(source)
            reach = (_largest(graph.node(one), observed) for one in state)
            states[name] = max(states.get(name, 0.0), *reach)
    for name, largest in states.items():
        scaled, (low, high) = graph.node(name), observed.get(name, (0.0, 0.0))
        size = max(-low, high)
        if not isinstance(scaled, DepthwiseConv2D) or not size or not largest:
            continue
        factor = largest / size
        found[name] = low * factor, high * factor
        graph = _scaled(graph, scaled, np.float32(factor))
    return graph, found


def _is_step(graph: Graph, node: Concatenate) -> bool:
    """Whether a recurrent layer joins its input and its state there."""
    readers = graph.readers(node.name)
    streamed = any(_is_state(graph, name) for name in node.inputs)
    return bool(readers) and all(
        isinstance(one, Weighted) and (one.shared or streamed) for one in readers
    )


def _is_state(graph: Graph, name: str) -> bool:
    """Whether these are the codes of a stream's state, moved or not."""
    node = graph.node(name)
    while node.moves_codes and len(node.inputs) == 1:
        node = graph.node(node.inputs[0])
    return isinstance(node, InputLayer) and bool(node.fed_by)


def _largest(node: Node, observed: Observed) -> float:
    """How far from 0 a state reaches; one of a fixed scale reaches to its highest code."""
    fixed = range_rule(node).fixed
    low, high = observed.get(node.name, (0.0, 0.0))
    return max(-low, high) if fixed is None else fixed.high


def _scaled(graph: Graph, node: DepthwiseConv2D, factor: np.float32) -> Graph:
    bias = None if node.bias is None else node.bias * factor
    channels = node.channels
    nodes: list[Node] = []
    for one in graph.nodes:
        if one.name == node.name:
            one = replace(node, kernel=node.kernel * factor, bias=bias)
        elif isinstance(one, Weighted) and node.name in graph.sources(one.inputs[0]):
            kernel = one.kernel.copy()
            kernel[..., :channels, :] /= factor  # the input stands before the state
            one = replace(one, kernel=kernel)
        nodes.append(one)
    return Graph(tuple(nodes))
