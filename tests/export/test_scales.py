"""Every scale in the int8 file is the float32 that was chosen, whatever the converter made of it.

A few conversions, on models whose every layer or input has a scale of its own. With
`TINSMITH_SCALES=1000` in the environment, so many of each, in conversions of 100.
"""

import os
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from compiling import int8_files
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import ConversionError
from tinsmith_export.inputs.entry import enter
from tinsmith_export.inputs.samples import Samples
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Concatenate, Conv2D, InputLayer, Node, OutputLayer
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import rounded_kernels, weight_scales
from tinsmith_export.quantize.qat import DistillationData
from tinsmith_export.quantize.recipe import Calibration, Quantized
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.tflite.convert import packed, products, to_int8_tflite
from tinsmith_export.targets.tflite.scales import with_chosen_scales
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.bundle import Input, PixelRanges

COUNT = int(os.environ.get("TINSMITH_SCALES", "20"))
CHANNELS = 8


def derived(scale: NDArray[np.float32], zero_point: int | NDArray[Any]) -> NDArray[np.float32]:
    """What TensorFlow's converter makes of a scale: it knows the two ends in float32."""
    low, high = (
        ((code - zero_point) * scale.astype(np.float64)).astype(np.float32) for code in (-128, 127)
    )
    return ((high.astype(np.float64) - low) / 255).astype(np.float32)


def ulp(one: NDArray[np.float32], other: NDArray[np.float32]) -> int:
    return int(np.abs(one.view(np.int32) - other.view(np.int32)).max())


def quantized(nodes: list[Node], ranges: dict[str, QuantParams]) -> Quantized:
    graph = Graph(tuple(nodes))
    bits = {node.name: 8 for node in graph.weighted}
    ranges = ranges | {node.name: ranges[node.inputs[0]] for node in graph.outputs}
    nothing = DistillationData(np.zeros(0), np.zeros(0), None, classes=False)
    calibration = Calibration({}, {}, nothing, nothing)
    return Quantized(graph, graph, ranges, bits, calibration)


def output(source: Node) -> Node:
    return OutputLayer("out", (source.name,), source.shape, title="o")


def chain(length: int, seed: int) -> Quantized:
    """A row of layers, each with ranges drawn at random, and every third without a bias."""
    rng, shape = np.random.default_rng(seed), (1, 1, CHANNELS)
    nodes: list[Node] = [InputLayer("input", (), shape)]
    ranges = {"input": QuantParams(1.0, -128)}
    for number in range(length):
        kernel = rng.normal(size=(1, 1, CHANNELS, CHANNELS)).astype(np.float32)
        bias = rng.normal(size=CHANNELS).astype(np.float32) if number % 3 else None
        name = f"layer{number}"
        nodes.append(Conv2D(name, (nodes[-1].name,), shape, kernel=kernel, bias=bias))
        scale = float(np.float32(2 ** rng.uniform(-12, 2)))
        ranges[name] = QuantParams(scale, int(rng.integers(-128, 128)))
    return quantized([*nodes, output(nodes[-1])], ranges)


@pytest.fixture(scope="module")
def converted() -> tuple[Quantized, bytes]:
    """Layers of random scales, and what TensorFlow's converter makes of them."""
    model = chain(min(COUNT, 100), seed=0)
    return model, to_int8_tflite(model.model)


def require_chosen(model: Quantized, data: bytes) -> None:
    """Asserts that the file has the chosen scales, the fake quantizer's weights, and its biases."""
    chosen = model.graph, model.ranges, model.weight_bits
    steps, kernels = weight_scales(*chosen), rounded_kernels(*chosen)
    biases = bias_scales(data)
    for product in products(data):
        node = model.graph.node(product.layer)
        before, after = (model.ranges[name] for name in (*node.inputs, node.name))
        assert product.input == (before.scale, before.zero_point)
        assert product.output == (after.scale, after.zero_point)
        np.testing.assert_array_equal(product.weight_scale, steps[node.name])
        codes = np.moveaxis(np.round(kernels[node.name] / steps[node.name]), -1, 0)
        np.testing.assert_array_equal(product.weights, codes)
        step = np.float32(before.scale) * steps[node.name]
        np.testing.assert_array_equal(biases.pop(0), step)
        assert isinstance(node, Conv2D)
        bias = np.zeros(len(step)) if node.bias is None else node.bias
        np.testing.assert_array_equal(product.bias, np.round(bias / step.astype(np.float64)))


def bias_scales(data: bytes) -> list[NDArray[np.float32]]:
    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    found = [graph.tensors[one.inputs[2]] for one in graph.operators if len(one.inputs) == 3]
    return [tensor.quantization.scale for tensor in found]


def test_the_file_has_the_chosen_scales(converted: tuple[Quantized, bytes]) -> None:
    model, data = converted
    require_chosen(model, with_chosen_scales(data, model))
    for number in range(1, COUNT // 100):
        model = chain(100, seed=number)
        require_chosen(model, with_chosen_scales(to_int8_tflite(model.model), model))


def test_what_the_converter_makes_of_a_scale_is_known(converted: tuple[Quantized, bytes]) -> None:
    model, data = converted
    for product in products(data):
        span = model.ranges[product.layer]
        found = derived(np.array([span.scale], np.float32), span.zero_point)
        assert product.output == (found[0], span.zero_point)


@pytest.mark.parametrize("zero_point", [-128, -127, -61, -1, 0, 1, 90, 127])
def test_no_mantissa_is_further_off_than_two_ulp(zero_point: int) -> None:
    """All 8,388,608 of them; the exponent changes nothing."""
    bits = np.arange(2**23, dtype=np.int32) + np.float32(1).view(np.int32)
    scale = bits.view(np.float32)
    assert ulp(derived(scale, zero_point), scale) <= 2


def pixels(low: float, high: float) -> tuple[Input, QuantParams]:
    """What an image model's input becomes that takes so much for pixels 0 and 255."""
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
    graph = Graph((InputLayer("input", (), (1, 1, 1)),))
    entry = enter(
        graph,
        Samples("pixels", "0" * 64, images, None, images, None, ()),
        PixelRanges(((low, high),)),
    )
    return entry.sources[0], entry.params["input"]


HUNDREDTHS = [(0.0, k / 100) for k in range(1, 1001)]
# From -j steps to 255 - j.
NEGATIVE = [(-(k % 255 + 1) * k / 1000, (254 - k % 255) * k / 1000) for k in range(1, 1001)]


def test_a_thousand_pixel_ranges() -> None:
    off = 0
    for low, high in (*HUNDREDTHS, *NEGATIVE):
        source, span = pixels(low, high)
        scale = np.array([span.scale], np.float32)
        assert (source.scale, source.zero_point) == (span.scale, span.zero_point)
        assert source.scale == np.float32((high - low) / 255)
        assert ulp(derived(scale, span.zero_point), scale) <= 2
        off += int(derived(scale, span.zero_point)[0] != scale[0])
    assert off > 30  # the converter's own scale would not do for these


def test_pixel_ranges_are_converted() -> None:
    """An input for each range; LiteRT itself says what scales it has."""
    chosen = [*HUNDREDTHS[6 : 6 + COUNT // 2], *NEGATIVE[: COUNT - COUNT // 2]]
    for start in range(0, len(chosen), 50):
        some = chosen[start : start + 50]
        ports = [pixels(*limits) for limits in some]
        nodes: list[Node] = []
        ranges = {}
        for number, (_, span) in enumerate(ports):
            nodes.append(InputLayer(f"in{number}", (), (1, 1, 1)))
            ranges[f"in{number}"] = span
        for number in range(len(ports)):
            kernel = np.full((1, 1, 1, 1), number + 1, np.float32)
            name = f"conv{number}"
            nodes.append(Conv2D(name, (f"in{number}",), (1, 1, 1), kernel=kernel))
            ranges[name] = QuantParams(0.5, 0)
        names = tuple(f"conv{number}" for number in range(len(ports)))
        nodes.append(Concatenate("all", names, (1, 1, len(ports)), axis=2))
        ranges["all"] = QuantParams(0.5, 0)
        model = quantized([*nodes, output(nodes[-1])], ranges)
        sources = [replace(port, name=f"in{n}") for n, (port, _) in enumerate(ports)]
        files = int8_files(lower(model, sources, (), classes=False))
        found = create_backend("litert", files["model.int8.tflite"], 1).inputs
        assert [one.scale for one in found] == [
            np.float32((high - low) / 255) for low, high in some
        ]


def changed(model: Quantized, name: str, scale: float, zero_point: int) -> Quantized:
    return replace(model, ranges={**model.ranges, name: QuantParams(scale, zero_point)})


def test_a_scale_that_the_converter_did_not_round_to_is_an_error(
    converted: tuple[Quantized, bytes],
) -> None:
    model, data = converted
    span = model.ranges["layer1"]
    far = float((np.float32(span.scale).view(np.int32) + 4).view(np.float32))
    for wrong in ((far, span.zero_point), (span.scale, span.zero_point ^ 1)):
        with pytest.raises(ConversionError, match=r"gave .*layer1.* scale .*zero point .*expected"):
            with_chosen_scales(data, changed(model, "layer1", *wrong))


def test_what_no_layer_computes_is_an_error(converted: tuple[Quantized, bytes]) -> None:
    model, data = converted
    some = Graph(tuple(node for node in model.graph.nodes if node.name != "layer1"))
    graph = replace(some.node("layer2"), inputs=("layer0",))
    with pytest.raises(ConversionError, match="which no layer is"):
        with_chosen_scales(data, replace(model, graph=some.replaced(graph)))


def test_a_tensor_without_a_chosen_scale_is_an_error(converted: tuple[Quantized, bytes]) -> None:
    model, data = converted
    file = schema.ModelT.InitFromPackedBuf(data, 0)
    file.subgraphs[0].operators.pop(0)
    with pytest.raises(ConversionError, match=r"no scale was chosen for .*layer0"):
        with_chosen_scales(packed(file, len(data)), model)


def test_layers_that_share_a_constant_get_their_own(converted: tuple[Quantized, bytes]) -> None:
    model, data = converted
    file = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = file.subgraphs[0]
    # Three without a bias: the converter stores the zeros of all once.
    buffers = [graph.tensors[one.inputs[2]].buffer for one in graph.operators]
    assert len(set(buffers)) < len(buffers)
    for one, other in pairwise(graph.operators):
        other.inputs = [*other.inputs[:2], one.inputs[2]]
    require_chosen(model, with_chosen_scales(packed(file, len(data)), model))


def test_a_product_without_a_bias_is_an_error(converted: tuple[Quantized, bytes]) -> None:
    model, data = converted
    file = schema.ModelT.InitFromPackedBuf(data, 0)
    operator = file.subgraphs[0].operators[1]
    operator.inputs = [*operator.inputs[:2], -1]
    with pytest.raises(ConversionError, match="`layer1`: TensorFlow's converter left out the bias"):
        with_chosen_scales(packed(file, len(data)), model)
