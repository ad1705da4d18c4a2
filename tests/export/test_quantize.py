"""Ranges, weight bits, and the fake-quantized model against what TFLite makes of it."""

import itertools

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinsmith_export.calibration import Range, calibrate
from tinsmith_export.errors import ConversionError
from tinsmith_export.proof import require_no_saturation, run_batches, to_codes
from tinsmith_export.quantize import can_saturate, fake_quantize, tuned_graph
from tinsmith_export.reader import read_graph
from tinsmith_export.rewrite import rewrite
from tinsmith_export.tflite import Product, products, to_int8_tflite
from tinsmith_runtime.backends import create_backend


@given(
    hnp.arrays(
        np.int8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.sampled_from([-127, -65, -64, -63, -2, -1, 0, 1, 2, 63, 64, 65, 127]),
    )
)
def test_saturation_is_what_any_two_weights_of_a_channel_can_do(codes: np.ndarray) -> None:
    # vpmaddubsw: two uint8 x int8 products, summed in int16; every input is 0 or 255 at worst.
    worst = max(
        abs(255 * (int(a) + int(b)))
        for channel in codes.T
        for a, b in itertools.chain(
            itertools.combinations(channel, 2), ((weight, 0) for weight in channel)
        )
    )
    assert can_saturate(codes.astype(np.int16)) == (worst > 32767)


def test_weights_that_could_saturate_are_refused() -> None:
    def product(operator: str, *weights: int) -> Product:
        return Product(operator, "conv", True, np.array([weights], np.int8))

    require_no_saturation([product("FULLY_CONNECTED", 127, 1, -127)])
    require_no_saturation([product("DEPTHWISE_CONV_2D", 127, 127)])  # its kernel adds in 32 bits
    with pytest.raises(ConversionError, match="conv"):
        require_no_saturation([product("CONV_2D", 127, 2)])


def test_seven_bit_weights_stay_within_63(converted) -> None:
    found = products(converted.tflite)
    assert list(converted.bits.values()) == [7, 8, 7, 7, 7]
    largest = [int(np.abs(product.weights.astype(np.int16)).max()) for product in found]
    assert largest == [63, 127, 63, 63, 63]
    assert all(product.integer for product in found)


def test_zero_points(converted) -> None:
    interpreter = Interpreter(model_content=converted.tflite)
    details = {tensor["name"]: tensor for tensor in interpreter.get_tensor_details()}
    outputs = [details[product.name]["quantization"][1] for product in products(converted.tflite)]
    assert outputs[:4] == [-128] * 4  # each ends in a ReLU
    assert outputs[4] != -128
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    assert (np.float32(scale), zero_point) == (np.float32(1 / 255), -128)


def test_the_fake_quantized_model_computes_what_tflite_does(converted) -> None:
    reals = converted.pixels / np.float32(255)
    target = converted.target
    expected = np.round(converted.model(reals).numpy() / target.scale) + target.zero_point
    codes = run_batches(create_backend("litert", converted.tflite, 1), to_codes(converted.pixels))
    # A sum that lies on the edge between two codes may be rounded either way, in each layer.
    assert (np.abs(codes - expected) <= 1).mean() >= 0.99


def test_a_channel_of_zeros_is_quantized() -> None:
    keras.utils.set_random_seed(1)
    conv = keras.layers.Conv2D(4, 3, activation="relu", name="conv")
    layers = [keras.Input((6, 6, 1)), conv, keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    kernel = np.array(conv.kernel)
    kernel[..., 2] = 0
    conv.kernel.assign(kernel)
    graph, _ = rewrite(read_graph(model))
    pixels = np.random.default_rng(1).integers(0, 256, (50, 6, 6, 1), np.uint8)
    inputs = pixels / np.float32(255)
    bits = {node.name: 7 for node in graph.weighted}
    rounded = fake_quantize(graph, Range(0.0, 1.0), calibrate(graph, inputs), bits)
    weights = products(to_int8_tflite(rounded))[0].weights
    assert not weights[2].any()
    assert weights[1].any()


def test_ranges_hold_zero_and_a_dead_layer_is_named() -> None:
    dense = keras.layers.Dense(2, activation="relu", name="dead", bias_initializer="zeros")
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), keras.layers.Flatten(), dense, keras.layers.Dense(2, name="last")]
    )
    inputs = np.ones((4, 2, 2, 1), np.float32)
    dense.set_weights([np.full((4, 2), 0.25, np.float32), np.zeros(2, np.float32)])
    ranges = calibrate(rewrite(read_graph(model))[0], inputs)
    assert ranges["dead"] == Range(0.0, 1.0)
    assert ranges["last"].low <= 0 <= ranges["last"].high
    dense.set_weights([np.full((4, 2), -1, np.float32), np.zeros(2, np.float32)])
    with pytest.raises(ConversionError, match="`dead`"):
        calibrate(rewrite(read_graph(model))[0], inputs)


def test_weights_come_back_from_the_fake_quantized_model(converted) -> None:
    back = tuned_graph(converted.graph, converted.model)
    for before, after in zip(converted.graph.weighted, back.weighted, strict=True):
        assert before.weights.keys() == after.weights.keys()
        for name, values in before.weights.items():
            np.testing.assert_array_equal(values, after.weights[name])
