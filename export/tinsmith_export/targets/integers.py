"""What decides a model's codes, taken out of what targets are given to write."""

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Conv2D, Node
from tinsmith_export.ir.quantization import QuantGraph, QuantWeights
from tinsmith_export.targets.target import IntegerModel, Product


def quant_graph(model: IntegerModel) -> QuantGraph:
    """The graph with its quantization parameters and integers, to be interpreted."""
    graph, weights = model.quantized.graph, {}
    for name, product in model.products.items():
        if product.integer:
            weights[name] = QuantWeights(
                _kernel(graph.node(name), product),
                product.weight_scale,
                product.weight_zero_point,
                product.bias,
            )
    quantized = model.quantized
    return QuantGraph(graph, quantized.all_ranges, weights, frozenset(quantized.unrounded))


def _kernel(node: Node, product: Product) -> NDArray[np.int8]:
    """The codes of a product's constant, the output channels last."""
    if isinstance(node, Conv2D):
        return np.moveaxis(product.weights, 0, -1)
    return product.weights[0] if product.operator == "DEPTHWISE_CONV_2D" else product.weights
