"""From the quantized graph to the integers that every target carries.

TensorFlow's converter rounds weights and biases: the integers are read from what it makes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.ops import OutputLayer, Weigh, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import fake_quantize
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.targets.target import IntegerModel, Product
from tinsmith_export.targets.tflite.convert import products, to_int8_tflite
from tinsmith_export.targets.tflite.float_layers import keep_float
from tinsmith_export.targets.tflite.scales import with_chosen_scales
from tinsmith_export.targets.tflite.sharing import share_weights
from tinsmith_runtime.bundle import Input, Output


def lower(
    quantized: Quantized, sources: Sequence[Input], labels: Sequence[str], classes: bool
) -> IntegerModel:
    """Rounds the weights of a model.

    Args:
        quantized: the model.
        sources: the model's inputs.
        labels: the names of the classes, none for values.
        classes: whether the one output is logits; values otherwise.

    Raises:
        ConversionError: TensorFlow's converter fails, or made of a layer something else.
    """
    everything = fake_quantize(quantized.graph, quantized.all_ranges, quantized.weight_bits)
    converted = with_chosen_scales(to_int8_tflite(everything), quantized)
    converted = keep_float(converted, quantized.kept, quantized.unrounded)
    converted = share_weights(converted, quantized.graph)
    found = _require_same_params(quantized, products(converted))
    graph = quantized.graph
    outputs = tuple(
        _output(node, quantized.ranges[node.name], tuple(labels), classes)
        if node in graph.answers
        else replace(_output(node, quantized.ranges[node.name], (), False), kind="state")
        for node in graph.outputs
    )
    return IntegerModel(quantized, tuple(sources), outputs, found, converted)


def state_inputs(quantized: Quantized) -> tuple[Input, ...]:
    """The inputs that the step before feeds, with the parameters of what feeds them."""
    return tuple(
        Input(
            node.name,
            (None, *node.shape),
            "float32",
            None,
            None,
            quantized.ranges[node.name].scale,
            quantized.ranges[node.name].zero_point,
            "state",
            None,
            node.fed_by,
        )
        for node in quantized.graph.states
    )


def _output(
    node: OutputLayer, params: QuantParams, labels: tuple[str, ...], classes: bool
) -> Output:
    return Output(
        node.title,
        (None, *node.shape),
        params.scale,
        params.zero_point,
        labels,
        node.activation,
        "logits" if classes else "values",
        node.part_of,
        node.start,
    )


def _require_same_params(quantized: Quantized, found: Sequence[Product]) -> dict[str, Product]:
    """Checks that the TFLite file has each layer once, with the parameters chosen for it."""
    named = {product.layer: product for product in found}
    graph = quantized.graph
    expected = [*(node for node in graph.nodes if isinstance(node, Weigh)), *graph.weighted]
    names = sorted(node.name for node in expected)
    if sorted(product.layer for product in found) != names:
        missing = sorted(set(names) ^ set(named))
        raise ConversionError(
            f"TFLite has {len(found)} products, expected {len(names)}: {', '.join(missing)}"
        )
    for node in expected:
        product = named[node.name]
        if product.integer == (node in quantized.kept):
            is_now = "integer" if product.integer else "float"
            raise ConversionError(f"layer `{node.name}` is {is_now} in the TFLite file")
        if not product.integer:
            continue
        for side, name, params in (
            ("input", node.inputs[0], QuantParams(*product.input)),
            ("output", node.name, QuantParams(*product.output)),
        ):
            if params != quantized.ranges[name]:
                raise ConversionError(
                    f"layer `{node.name}`: TFLite's {side} has {params}, expected "
                    f"{quantized.ranges[name]}"
                )
        if isinstance(node, Weighted):
            _require_same_weights(node, product)
    return named


def _require_same_weights(node: Weighted, product: Product) -> None:
    """Checks that the TFLite file has a layer's own weights, rounded."""
    steps = product.weight_scale.astype(np.float64)[:, None]
    channels, kernel = node.channels, node.channel_kernel
    first = product.operator != "DEPTHWISE_CONV_2D"  # the output channels, in the file
    codes = product.weights.reshape((channels, -1) if first else (-1, channels))
    exact = kernel.reshape(-1, channels).T / steps
    off = np.abs((codes if first else codes.T) - exact).max()
    if off > 0.51:
        raise ConversionError(
            f"layer `{node.name}`: a weight in the TFLite file is {off:.3g} steps off"
        )
