"""The variables that fine-tuning moves: their units, and the graph that they go back to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tf_keras

from tinsmith_export.ir.bits import WEIGHT_BITS
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import DepthwiseConv2D
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import weight_scales


def trained_units(
    graph: Graph, ranges: Mapping[str, QuantParams], model: tf_keras.Model
) -> list[Any]:
    """What one 8-bit code of a weight, and of the output that a bias is added to, stands for.

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
            is_bias = _part(variable) == "bias"
            found[variable.ref()] = np.float32(ranges[node.name].scale) if is_bias else scale
    return [found[variable.ref()] for variable in model.trainable_variables]


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
