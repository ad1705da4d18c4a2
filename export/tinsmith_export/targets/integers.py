"""What the files hold of a quantized model, for everything that computes it without an engine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Conv2D, Node
from tinsmith_export.ir.quantization import QuantGraph, QuantWeights
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.targets.tflite import Product


def quant_graph(quantized: Quantized, products: Sequence[Product]) -> QuantGraph:
    """Puts the graph, its quantization parameters and the weights of the files together.

    Args:
        quantized: the model.
        products: what the TFLite file holds of it, and the ONNX file with it.
    """
    weights = {}
    for product in products:
        if product.integer:
            node = quantized.graph.node(product.layer)
            weights[node.name] = QuantWeights(
                _kernel(node, product),
                product.weight_scale,
                product.weight_zero_point,
                product.bias,
            )
    return QuantGraph(quantized.graph, quantized.ranges, weights)


def _kernel(node: Node, product: Product) -> NDArray[np.int8]:
    """The codes of a product's constant, the output channels last."""
    if isinstance(node, Conv2D):
        return np.moveaxis(product.weights, 0, -1)
    return product.weights[0] if product.operator == "DEPTHWISE_CONV_2D" else product.weights
