"""Biases, and weights, that make up for what rounding changes, layer by layer.

Rounding weights and activations shifts the mean of a channel. The shift is measured on calibration
inputs and taken off the bias: empirical bias correction, Nagel et al. 2019 (arXiv:1906.04721),
section 4.2. Each layer is measured with all layers before it already corrected: to correct all at
once corrects the same shift many times.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Node, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.evaluation import Evaluation, fitting_count, with_rounded_weights
from tinsmith_export.quantize.fake_quantization import weight_scales
from tinsmith_export.quantize.weight_rounding import round_weights
from tinsmith_runtime.batch import Arrays, rows

# Two tensors of this many inputs are held at once, where a network is widest.
_MAX_COUNT, _MAX_TENSOR_BYTES = 256, 100 * 2**20


def correct_layers(
    graph: Graph,
    ranges: Mapping[str, QuantParams],
    bits: Mapping[str, int],
    inputs: Arrays,
    fitted: Collection[str] = (),
) -> Graph:
    """Corrects the bias of every layer that multiplies by weights of its own.

    Args:
        graph: a rewritten graph.
        ranges: the quantization parameters of each tensor.
        bits: of the weights of each layer that has some.
        inputs: `float32 (N, …)`, as many as the graph has; the first 256 are taken, or as many as
            memory allows.
        fitted: names of layers whose weights are rounded so that the output changes least, not each
            to the nearest code; see `weight_rounding`.

    Returns:
        The graph with other biases; a layer that had none has one. Weights that were fitted are
        multiples of their scale.
    """
    inputs = rows(inputs, slice(fitting_count(graph, _MAX_COUNT, _MAX_TENSOR_BYTES)))
    exact, rounded = Evaluation(graph, inputs), Evaluation(graph, inputs, ranges)
    coarse = with_rounded_weights(graph, ranges, bits)
    scales = weight_scales(graph, ranges, bits) if fitted else {}
    corrected: list[Node] = []
    for node, rounded_node in zip(graph.nodes, coarse.nodes, strict=True):
        wanted = exact.compute(node)
        if isinstance(node, Weighted) and node.name in fitted and not node.shared:
            kernel = round_weights(node, rounded.tensors[node.inputs[0]], scales[node.name])
            if kernel is not None:
                node = replace(node, kernel=kernel)
                rounded_node = node
        rounded.compute(rounded_node)
        alone = isinstance(node, Weighted) and not node.shared
        if alone and isinstance(node, Weighted) and isinstance(rounded_node, Weighted):
            # Nothing holds it any more when it is computed again: it may be large.
            shift = _channel_means(wanted - rounded.tensors.pop(node.name))
            bias = shift if node.bias is None else node.bias + shift
            node = replace(node, bias=bias)
            rounded.compute(replace(rounded_node, bias=bias))
        corrected.append(node)
        exact.forget(node)
        rounded.forget(node)
    return Graph(tuple(corrected))


def _channel_means(difference: Any) -> NDArray[np.float32]:
    means: NDArray[np.float32] = tf.reduce_mean(
        difference, axis=list(range(difference.shape.rank - 1))
    ).numpy()
    return means
