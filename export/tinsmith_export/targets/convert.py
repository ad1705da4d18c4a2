"""From the quantized graph to the four model files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tf_keras

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import OutputLayer, Weigh, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.targets.float_layers import keep_float
from tinsmith_export.targets.onnx import to_int8_onnx, to_onnx
from tinsmith_export.targets.scales import with_chosen_scales
from tinsmith_export.targets.tflite import (
    Product,
    products,
    to_float_tflite,
    to_int8_tflite,
    with_names,
)
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.bundle import Input, Output


@dataclass(frozen=True)
class Converted:
    """The int8 files.

    Attributes:
        files: name to bytes.
        outputs: what the int8 files' outputs mean.
        products: in both.
    """

    files: dict[str, bytes]
    outputs: tuple[Output, ...]
    products: tuple[Product, ...]


def convert(
    quantized: Quantized,
    sources: Sequence[Input],
    labels: Sequence[str],
    classes: bool,
) -> Converted:
    """Makes the int8 files.

    Args:
        quantized: the model.
        sources: the model's inputs.
        labels: the names of the classes, none for values.
        classes: whether the one output is logits; values otherwise.

    Raises:
        ConversionError: TensorFlow's converter fails, or made of a layer something else.
    """
    int8 = with_chosen_scales(to_int8_tflite(quantized.model), quantized)
    int8 = keep_float(int8, quantized.kept)
    found = _require_same_grid(quantized, products(int8))
    graph, ranges = quantized.graph, quantized.ranges
    targets = tuple(
        _output(node, ranges[node.name], tuple(labels), classes) for node in graph.outputs
    )
    int8 = with_names(int8, *_names(graph, sources))
    engine = create_backend("litert", int8, 1)
    expected: list[Input | Output] = [*sources, *targets]
    for tensor, wanted in zip((*engine.inputs, *engine.outputs), expected, strict=True):
        if (tensor.scale, tensor.zero_point) != (wanted.scale, wanted.zero_point):
            raise ConversionError(f"TFLite has {tensor}, expected {wanted}")
    files = {
        "model.int8.tflite": int8,
        "model.int8.onnx": to_int8_onnx(graph, ranges, found, sources, targets),
    }
    return Converted(files, targets, tuple(found.values()))


def _output(node: OutputLayer, span: QuantParams, labels: tuple[str, ...], classes: bool) -> Output:
    return Output(
        node.title,
        (None, *node.shape),
        span.scale,
        span.zero_point,
        labels,
        node.activation,
        "logits" if classes else "values",
    )


def convert_floats(
    graph: Graph, reference: tf_keras.Model, sources: Sequence[Input]
) -> dict[str, bytes]:
    """Makes the float files, name to bytes, of a graph, the model that is the same, its inputs."""
    names = _names(graph, sources)
    return {
        "model.float.tflite": with_names(to_float_tflite(reference), *names),
        "model.float.onnx": to_onnx(graph, names[0]),
    }


def _names(graph: Graph, sources: Sequence[Input]) -> tuple[list[str], list[str]]:
    """What the files call inputs and outputs."""
    return [source.name for source in sources], [node.title for node in graph.outputs]


def _require_same_grid(quantized: Quantized, found: Sequence[Product]) -> dict[str, Product]:
    """Checks that the TFLite file has each layer once, on the grid that was chosen for it."""
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
        for side, name, grid in (
            ("input", node.inputs[0], QuantParams(*product.input)),
            ("output", node.name, QuantParams(*product.output)),
        ):
            if grid != quantized.ranges[name]:
                raise ConversionError(
                    f"layer `{node.name}`: TFLite's {side} has {grid}, expected "
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
