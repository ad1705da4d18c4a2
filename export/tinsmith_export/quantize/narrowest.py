"""How narrow the range of an output may be: engines refuse one that is much finer than it can be.

XNNPACK loads no product whose input's scale times its weights' is 256 times its output's or more.
What calibration data never wake, as a ReLU that gives nothing but 0, has such an output.
"""

from collections.abc import Mapping
from math import prod

import numpy as np

from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.bits import WEIGHT_BITS, largest_code
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Add, Multiply, Node, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.groups import Observed, Span

# An eighth of what XNNPACK takes: scales become coarser as they are made to fit each other.
_FINEST = 32


def not_too_narrow(
    graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]
) -> dict[str, Span]:
    """Observed ranges, wider where the steps that an output is made of are far coarser.

    Args:
        graph: a rewritten graph.
        observed: the observed range of each layer that computes new values.
        inputs: the quantization parameters of the graph's inputs.
    """
    found = {name: (params.low, params.high) for name, params in inputs.items()} | dict(observed)
    for node in graph.nodes:
        if node.name in observed and isinstance(node, Add | MatMul | Multiply | Weighted):
            steps = [_step(found[name]) for name in _widest(graph, node, found)]
            step = max(steps) if isinstance(node, Add) else prod(steps) * _weight_step(node)
            low, high = found[node.name]
            found[node.name] = low, max(high, low + 255 * step / _FINEST)
    return {name: found[name] for name in observed}


def _widest(graph: Graph, node: Node, spans: Mapping[str, Span]) -> list[str]:
    """Of what each input of a node is made of, that with the widest range."""
    sources = (graph.sources(name) for name in node.inputs)
    return [max(sorted(found), key=lambda name: _step(spans[name])) for found in sources]


def _step(span: Span) -> float:
    return (max(span[1], 0.0) - min(span[0], 0.0)) / 255


def _weight_step(node: Node) -> float:
    """The coarsest scale of a layer's weights; 1 for a product of two tensors."""
    if not isinstance(node, Weighted):
        return 1.0
    return float(np.abs(node.kernel).max()) / largest_code(WEIGHT_BITS)
