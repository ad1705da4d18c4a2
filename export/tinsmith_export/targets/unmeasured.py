"""A graph as it would be quantized, for what can be told of it without data."""

from dataclasses import astuple

import numpy as np

from tinsmith_export.ir.bits import WEIGHT_BITS, largest_code
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Conv2D, DepthwiseConv2D, Node, Weigh, Weighted
from tinsmith_export.ir.quantization import QuantGraph, QuantParams, QuantWeights
from tinsmith_export.quantize.groups import Observed
from tinsmith_export.quantize.ranges import share_ranges
from tinsmith_export.quantize.separate import separate
from tinsmith_export.targets.target import Product

# Of every input, and of all tensors of a larger graph than that: to find out what is requantized
# takes a time that grows with the square of the sums and products.
_PARAMS, _SEPARATED = QuantParams(2.0**-7, 0), 500


def unmeasured(graph: Graph) -> QuantGraph:
    """Rounds the weights of a graph, as if all its layers gave about -1 to 1.

    Args:
        graph: a rewritten graph; what has to be requantized is, as in an export.
    """
    # No two give the same: files hold equal constants once.
    computed = (node.name for node in graph.requantized)
    observed: Observed = {name: (-1.0, 1.0 + number / 512) for number, name in enumerate(computed)}
    inputs = {node.name: _PARAMS for node in graph.inputs}
    small = len(graph.nodes) <= _SEPARATED
    if small:
        graph, observed = separate(graph, observed, inputs)
    weights = {node.name: _rounded(node) for node in graph.weighted}
    for node in graph.nodes:
        if isinstance(node, Weigh):
            weights[node.name] = QuantWeights(
                np.zeros(node.factor.shape, np.int8), np.ones(1, np.float32)
            )
    equal = dict.fromkeys((node.name for node in graph.nodes), _PARAMS)
    return QuantGraph(graph, share_ranges(graph, observed, inputs) if small else equal, weights)


def _rounded(node: Weighted) -> QuantWeights:
    """The weights of a layer, rounded to the scale of each channel; its bias is 0."""
    kernel = node.channel_kernel
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scale = np.maximum(largest / largest_code(WEIGHT_BITS), np.finfo(np.float32).tiny)
    codes = np.rint(kernel / scale).astype(np.int8)
    return QuantWeights(codes, scale.astype(np.float32), 0, np.zeros(node.channels, np.int32))


def unmeasured_products(model: QuantGraph) -> dict[str, Product]:
    """The constants of such a model in the layout that targets are given, by the layer's name."""
    return {
        name: Product(
            operator="",
            layer=name,
            integer=True,
            exact=True,
            weights=_file_layout(model.graph.node(name), found),
            weight_scale=found.scale,
            weight_zero_point=found.zero_point,
            bias=found.bias,
            input=astuple(model.params[model.graph.node(name).inputs[0]]),
            output=astuple(model.params[name]),
        )
        for name, found in model.weights.items()
    }


def _file_layout(node: Node, weights: QuantWeights) -> np.typing.NDArray[np.int8]:
    """See `Product.weights`."""
    if isinstance(node, Conv2D):
        return np.moveaxis(weights.codes, -1, 0)
    return weights.codes[None] if isinstance(node, DepthwiseConv2D) else weights.codes
