"""A graph computed node by node, in float or rounded as the integer engines round.

Nothing is traced, and a tensor that nothing reads any more is forgotten: so a graph whose weights
or ranges change costs no more than its arithmetic.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Clip, InputLayer, Node, OutputLayer, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import rounded_kernels, unclipped
from tinsmith_export.quantize.rounding import rounded
from tinsmith_export.reference.rebuild import built_layer
from tinsmith_runtime.batch import Arrays, concatenate, count, joined, parts, rows

Layers = dict[tuple[Node, bool], Any]
"""What computes nodes, rounded or not, which several evaluations may share."""

Hear = Callable[[Node, Any], None]

# Inputs at a time: as many as keep the largest tensor of a batch at 32 MiB.
_MAX_BATCH_SIZE, _MAX_TENSOR_BYTES = 1024, 2**25


class Evaluation:
    """The tensors of a graph for one batch of inputs.

    Args:
        graph: its nodes are computed by `compute`, in its order.
        inputs: `float32 (N, …)`, as many as the graph has.
        ranges: of every tensor that is rounded, by its name; without them nothing is. The clip of
            a layer whose output is not rounded is computed.
        layers: what computes the nodes; what is missing is built and added.

    Attributes:
        tensors: what was computed and not forgotten, by the node's name.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Arrays,
        ranges: Mapping[str, QuantParams] | None = None,
        layers: Layers | None = None,
    ) -> None:
        self._ranges, self._layers = ranges or {}, layers
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
        read = inputs if len(inputs) > 1 else inputs[0]
        layers = {} if self._layers is None else self._layers
        key = node, node.name in self._ranges
        if key in layers:
            return layers[key].call(read)  # what Keras does around it takes milliseconds
        layers[key] = built_layer(unclipped(node) if key[1] else node, inputs[0].shape)
        return layers[key](read)

    def _rounded(self, node: Node, tensor: Any) -> Any:
        computes = node.requantizes or isinstance(node, InputLayer | Clip)
        if not computes or node.name not in self._ranges:
            return tensor
        return rounded(tensor, self._ranges[node.name])

    def finish(
        self, graph: Graph, start: int = 0, hear: Hear = lambda node, tensor: None
    ) -> Arrays:
        """Computes the nodes from one on, and gives the outputs, `float32 (N, …)` each.

        Args:
            graph: what was given to begin with.
            start: the index of the first node that is left.
            hear: is told each node and its output.
        """
        for node in graph.nodes[start:]:
            hear(node, self.compute(node))
            self.forget(node)
        return joined([self.tensors[node.name].numpy() for node in graph.outputs])

    def fork(self, ranges: Mapping[str, QuantParams] | None = None) -> "Evaluation":
        """The same so far, which computes and forgets from here on by itself.

        Args:
            ranges: of the tensors that it rounds from here on; without them it rounds none.
        """
        other = copy(self)
        other._ranges, other.tensors = ranges or {}, dict(self.tensors)
        return other

    def forget(self, node: Node) -> None:
        """Forgets the tensors that this node was the last to read."""
        for name in set(node.inputs):
            if self._last[name] == node.name:
                del self.tensors[name]


def fitting_count(graph: Graph, most: int, tensor_bytes: int) -> int:
    """How many inputs, 1 to `most`, keep the largest tensor of a graph within so many bytes."""
    largest = max(int(np.prod(node.shape)) for node in graph.nodes)
    return max(1, min(most, tensor_bytes // (4 * largest)))


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
    graph: Graph,
    inputs: Arrays,
    ranges: Mapping[str, QuantParams] | None = None,
    layers: Layers | None = None,
) -> Arrays:
    """Computes a graph's outputs, its weights taken as they are.

    Args:
        graph: its nodes are computed in its order.
        inputs: `float32 (N, …)`, as many as the graph has.
        ranges: as `Evaluation`.
        layers: as `Evaluation`.

    Returns:
        `float32 (N, …)`, as many as it has outputs.
    """
    layers = {} if layers is None else layers
    return concatenate(
        Evaluation(graph, batch, ranges, layers).finish(graph) for batch in batches(graph, inputs)
    )


def batches(graph: Graph, inputs: Arrays) -> Iterator[Arrays]:
    """Divides inputs so that the largest tensor of a graph is within 32 MiB."""
    size = fitting_count(graph, _MAX_BATCH_SIZE, _MAX_TENSOR_BYTES)
    for start in range(0, count(inputs), size):
        yield rows(inputs, slice(start, start + size))
