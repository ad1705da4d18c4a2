"""Ranges, weight bits, and the fake-quantized model against what TFLite makes of it."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from compiling import Compiled, compiled, rewritten, settle
from hypothesis import given
from hypothesis import strategies as st
from narrow import array, some

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import RELU, UNCLIPPED, Concatenate, Dense, InputLayer
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.calibration import calibrate
from tinsmith_export.quantize.ranges import share_ranges
from tinsmith_export.quantize.separate import separate
from tinsmith_export.quantize.trained import trained_graph
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.tflite.convert import products
from tinsmith_export.verify.engines import run_batches
from tinsmith_runtime.backends import create_backend

L = keras.layers


def test_zero_points(converted: Compiled) -> None:
    points = {product.layer: product.output[1] for product in converted.products}
    assert points.pop("answer") != -128
    assert set(points.values()) == {-128}  # each ends in a ReLU
    interpreter = Interpreter(model_content=converted.files["model.int8.tflite"])
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    assert (np.float32(scale), zero_point) == (np.float32(1 / 255), -128)


def test_the_fake_quantized_model_computes_what_tflite_does(converted: Compiled) -> None:
    target, tflite = converted.output, converted.files["model.int8.tflite"]
    reals = converted.entry.reals(converted.inputs)
    expected = np.round(converted.quantized.model(reals).numpy() / target.scale) + target.zero_point
    codes = run_batches(create_backend("litert", tflite, 1), converted.codes)
    # A sum that lies on the edge between two codes may be rounded either way, in each layer.
    assert (np.abs(codes - expected) <= 1).mean() >= 0.99


def test_a_channel_of_zeros_is_quantized() -> None:
    conv = L.Conv2D(4, 3, activation="relu", name="conv")
    model = settle(keras.Sequential([keras.Input((6, 6, 1)), conv, L.Flatten(), L.Dense(3)]))
    kernel = np.array(conv.kernel)
    kernel[..., 2] = 0
    conv.kernel.assign(kernel)
    weights = products(compiled(model).files["model.int8.tflite"])[0].weights
    assert not weights[2].any()
    assert weights[1].any()


def limits_of(model: keras.Model, inputs: np.ndarray) -> dict[str, tuple[float, float]]:
    return dict(calibrate(rewritten(model), inputs)[1])


def test_calibration_measures_the_lowest_and_highest_output() -> None:
    dense = L.Dense(2, activation="relu", name="first", bias_initializer="zeros")
    model = keras.Sequential([keras.Input((4,)), dense, L.Dense(1, name="last")])
    dense.set_weights([np.full((4, 2), 0.25, np.float32), np.array([0, -2], np.float32)])
    model.layers[-1].set_weights([np.array([[-1], [1]], np.float32), np.zeros(1, np.float32)])
    # More inputs than one batch of calibration holds.
    inputs = np.linspace(0, 3, 100, dtype=np.float32)[:, None].repeat(4, 1)
    assert limits_of(model, inputs) == {"first": (0.0, 3.0), "last": (-2.0, 0.0)}


def test_nan_in_calibration_is_told_with_the_layer() -> None:
    model = settle(keras.Sequential([keras.Input((4,)), L.Dense(2, name="odd")]))
    with pytest.raises(ConversionError, match="`odd`"):
        limits_of(model, np.full((4, 4), np.nan, np.float32))


def test_a_dead_layer_gives_zero() -> None:
    """No output but 0: it has a range all the same, and int8 gives what float does."""
    dead = L.Dense(2, activation="relu", name="dead")
    model = settle(keras.Sequential([keras.Input((4,)), L.Dense(4), dead, L.Dense(3)]))
    dead.set_weights([np.zeros((4, 2), np.float32), np.full(2, -1, np.float32)])
    made = compiled(model)
    assert not calibrate(made.graph, made.inputs)[1]["dead"][1]
    codes = run_batches(create_backend("litert", made.files["model.int8.tflite"], 1), made.codes)
    reals = (array(codes) - float(made.output.zero_point)) * made.output.scale
    expected = np.asarray(model(made.inputs))
    np.testing.assert_allclose(reals, expected, atol=made.output.scale)


@given(
    st.floats(-1e4, 1e4, allow_subnormal=False, width=32),
    st.floats(-1e4, 1e4, allow_subnormal=False, width=32),
)
def test_a_range_covers_its_limits_and_zero_exactly(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    span = QuantParams.covering(low, high)
    # To half a code: the zero point is rounded.
    assert span.low <= min(low, 0.0) + span.scale / 2
    assert span.high >= max(high, 0.0) - span.scale / 2
    assert span.reals(np.array([span.zero_point], np.int8)).tolist() == [0.0]
    if low >= 0:
        assert span.zero_point == -128  # a ReLU is the clamp to code -128
    assert span.scale == np.float32(max((max(high, 0.0) - min(low, 0.0)) / 255, 2.0**-27))


def joined_graph(relu: bool) -> Graph:
    """Two dense layers, the second with ReLU or without, that meet in a concatenation."""
    kernel = np.ones((4, 4), np.float32)
    return Graph(
        (
            InputLayer("input", (), (4,)),
            Dense("a", ("input",), (4,), kernel=kernel),
            Dense("b", ("input",), (4,), kernel=kernel, clip=RELU if relu else UNCLIPPED),
            Concatenate("meet", ("a", "b"), (8,), axis=0),
        )
    )


SOURCE = {"input": QuantParams(1 / 255, -128)}


def test_what_meets_in_a_concatenation_has_one_range() -> None:
    graph, limits = joined_graph(relu=False), {"a": (-1.0, 3.0), "b": (-5.0, 2.0)}
    assert separate(graph, limits, SOURCE) == (graph, limits)
    joined = share_ranges(graph, limits, SOURCE)
    assert joined["a"] == joined["b"] == joined["meet"] == QuantParams.covering(-5.0, 3.0)


def test_a_relu_that_meets_none_in_a_concatenation_is_rounded_anew() -> None:
    limits = {"a": (-1.0, 3.0), "b": (-5.0, 2.0)}
    mixed, observed = separate(joined_graph(relu=True), limits, SOURCE)
    kinds = [node.kind for node in mixed.nodes[3:] if node.kind != "Reshape"]
    assert kinds == ["DepthwiseConv2D", "Concatenate"]
    assert mixed.node("meet").inputs == ("a", "meet/input")
    assert observed == limits | {"meet/input/scale": (-5.0, 2.0)}


def test_weights_come_back_from_the_fake_quantized_model(converted: Compiled) -> None:
    graph = converted.quantized.graph
    back = trained_graph(graph, converted.quantized.model)
    for before, after in zip(graph.weighted, back.weighted, strict=True):
        np.testing.assert_array_equal(before.kernel, after.kernel)
        assert (before.bias is None) == (after.bias is None)
        if before.bias is not None:
            np.testing.assert_array_equal(before.bias, after.bias)


def of_equal_biases() -> keras.Model:
    """Channels of different sizes, as a hard sigmoid behind a convolution has them: 0.5 to all."""
    bias = keras.initializers.Constant(0.5)
    convolution = L.Conv2D(4, 3, bias_initializer=bias, name="conv")
    model = keras.Sequential([keras.Input((6, 6, 2)), convolution, L.Flatten(), L.Dense(3)])
    kernel, bias = convolution.get_weights()
    convolution.set_weights([kernel * [1, 2, 4, 8], bias])
    return model


def test_equal_biases_are_rounded_each_in_the_steps_of_its_channel() -> None:
    found = compiled(of_equal_biases())
    # Corrected biases would not be equal.
    equal = replace(found.quantized, graph=found.quantized.exact)
    product = lower(equal, found.entry.sources, (), classes=False).products["conv"]
    steps = product.weight_scale * product.input[0]
    np.testing.assert_allclose(some(product.bias) * steps, 0.5, rtol=1e-3)


def test_weights_near_zero_are_rounded_once() -> None:
    """As ConvNeXt's are, whose layers begin scaled by 1e-6."""
    convolution = L.Conv2D(4, 3, name="conv")
    model = keras.Sequential([keras.Input((6, 6, 2)), convolution, L.Flatten(), L.Dense(3)])
    kernel, bias = convolution.get_weights()
    convolution.set_weights([kernel * 3e-7, bias])
    found = compiled(model)
    (product,) = (product for product in found.products if product.layer == "conv")
    assert np.abs(product.weights).max() > 10
