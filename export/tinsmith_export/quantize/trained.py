"""The variables that fine-tuning moves: their units, and the graph and ranges that come of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tinsmith_export.ir.bits import WEIGHT_BITS
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import DepthwiseConv2D
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import weight_scales
from tinsmith_export.quantize.groups import Groups, Observed
from tinsmith_export.quantize.qat import LEARNING_RATE

# A step of training makes a range up to 1 % wider or narrower at first.
_WIDTH_UNIT = 0.01 / LEARNING_RATE


def range_widths(
    graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]
) -> dict[str, tf.Variable]:
    """A variable for each range that is learned, by the names of the nodes that have it.

    Those of outputs are not: a few inputs do not show how far they reach.

    Args:
        graph: from `separate`.
        observed: the observed range of each layer that computes new values.
        inputs: the quantization parameters of each input, by its name.

    Returns:
        The logarithm to base 2 of how many times wider it becomes; tensors of one range have one.
    """
    groups = Groups(graph, observed, inputs)
    fixed = {*groups.given, *(groups.of(node.name) for node in graph.outputs)}
    widths = {group: tf.Variable(0.0, name="width") for group in groups if group not in fixed}
    of = {node.name: groups.of(node.name) for node in graph.nodes}
    return {name: widths[group] for name, group in of.items() if group in widths}


def widened(observed: Observed, widths: Mapping[str, tf.Variable]) -> Observed:
    """Observed ranges as wide as was learned."""
    times = {name: 2.0 ** float(width) for name, width in widths.items()}
    return {
        name: (low * times.get(name, 1.0), high * times.get(name, 1.0))
        for name, (low, high) in observed.items()
    }


def trained_units(
    graph: Graph, ranges: Mapping[str, QuantParams], model: tf_keras.Model
) -> list[Any]:
    """What one 8-bit code of a weight, and of the output that a bias is added to, stands for.

    A range has a unit too, so that all are moved alike.

    Args:
        graph: a rewritten graph.
        ranges: of every layer's output, rounded or not.
        model: from `fake_quantize`.

    Returns:
        `float32`, of each trainable variable in the model's order, in a shape that fits to it.
    """
    scales = weight_scales(graph, ranges, {node.name: WEIGHT_BITS for node in graph.weighted})
    found: dict[Any, Any] = {}
    for node in graph.weighted:
        scale = scales[node.name]
        if isinstance(node, DepthwiseConv2D):
            scale = scale.reshape(node.kernel.shape[2:])
        for variable in model.get_layer(f"quant_{node.name}").trainable_weights:
            if _part(variable) == "bias":
                found[variable.ref()] = np.float32(ranges[node.name].scale)
            elif _part(variable) == node.kernel_name:
                found[variable.ref()] = scale
    return [found.get(variable.ref(), _WIDTH_UNIT) for variable in model.trainable_variables]


def trained_graph(graph: Graph, model: tf_keras.Model) -> Graph:
    """Takes the weights of a trained fake-quantized model back into the graph."""
    for node in graph.weighted:
        variables = model.get_layer(f"quant_{node.name}").trainable_weights
        found = {_part(variable): variable for variable in variables}
        kernel = found[node.kernel_name].numpy().reshape(node.kernel.shape)
        bias = None if node.bias is None else found["bias"].numpy()
        graph = graph.replaced(replace(node, kernel=kernel, bias=bias))
    return graph


def _part(variable: Any) -> str:
    """Which part of its layer a variable is: `kernel`, `bias` and the like."""
    name: str = variable.name.split("/")[-1].split(":")[0]
    return name
