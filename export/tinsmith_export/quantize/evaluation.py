"""A graph computed node by node, in float or rounded as the integer engines round.

Nothing is traced, and a tensor that nothing reads any more is forgotten: so a graph whose weights
or ranges change costs no more than its arithmetic.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Clip, InputLayer, Node, OutputLayer, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import Rounding, rounded_kernels, unclipped
from tinsmith_export.reference.rebuild import built_layer
from tinsmith_runtime.batch import Arrays, concatenate, count, joined, parts, rows

_BATCH_SIZE = 32


class Evaluation:
    """The tensors of a graph for one batch of inputs.

    Args:
        graph: its nodes are computed by `compute`, in its order.
        inputs: `float32 (N, …)`, as many as the graph has.
        ranges: of every tensor that is rounded; without them nothing is.

    Attributes:
        tensors: what was computed and not forgotten, by the node's name.
    """

    def __init__(
        self, graph: Graph, inputs: Arrays, ranges: Mapping[str, QuantParams] | None = None
    ) -> None:
        self._ranges = ranges
        self.tensors: dict[str, Any] = {}
        names = [node.name for node in graph.inputs]
        self._inputs = dict(zip(names, parts(inputs), strict=True))
        self._last = {name: node.name for node in graph.nodes for name in node.inputs}

    def compute(self, node: Node) -> Any:
        """Computes a node, whose weights are taken as they are, and gives its output."""
        tensor = self._rounded(node, self._computed(node))
        self.tensors[node.name] = tensor
        return tensor

    def _computed(self, node: Node) -> Any:
        if isinstance(node, InputLayer):
            return tf.constant(self._inputs[node.name])
        inputs = [self.tensors[name] for name in node.inputs]
        if isinstance(node, OutputLayer):
            return inputs[0]
        layer = built_layer(node if self._ranges is None else unclipped(node), inputs[0].shape)
        return layer(inputs if len(inputs) > 1 else inputs[0])

    def _rounded(self, node: Node, tensor: Any) -> Any:
        if self._ranges is None or not (node.requantizes or isinstance(node, InputLayer | Clip)):
            return tensor
        return Rounding(self._ranges[node.name])(tensor)

    def forget(self, node: Node) -> None:
        """Forgets the tensors that this node was the last to read."""
        for name in set(node.inputs):
            if self._last[name] == node.name:
                del self.tensors[name]


def with_rounded_weights(
    graph: Graph, ranges: Mapping[str, QuantParams], bits: Mapping[str, int]
) -> Graph:
    """The graph with the weights that the codes of each layer stand for.

    Args:
        graph: a rewritten graph.
        ranges: the quantization parameters of each tensor.
        bits: of the weights of each layer that has some.
    """
    kernels = rounded_kernels(graph, ranges, bits)
    return Graph(
        tuple(
            replace(node, kernel=kernels[node.name])
            if isinstance(node, Weighted) and node.name in kernels
            else node
            for node in graph.nodes
        )
    )


def evaluate(
    graph: Graph, inputs: Arrays, ranges: Mapping[str, QuantParams] | None = None
) -> Arrays:
    """Computes a graph's outputs, its weights taken as they are.

    Args:
        graph: its nodes are computed in its order.
        inputs: `float32 (N, …)`, as many as the graph has.
        ranges: as `Evaluation`.

    Returns:
        `float32 (N, …)`, as many as it has outputs.
    """
    batches = []
    for start in range(0, count(inputs), _BATCH_SIZE):
        batch = Evaluation(graph, rows(inputs, slice(start, start + _BATCH_SIZE)), ranges)
        for node in graph.nodes:
            batch.compute(node)
            batch.forget(node)
        batches.append(joined([batch.tensors[node.name].numpy() for node in graph.outputs]))
    return concatenate(batches)
