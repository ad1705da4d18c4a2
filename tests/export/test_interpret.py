"""The interpreter: its arithmetic against rational numbers and against LiteRT, and whole models.

`test_layers.py` compares every layer of its table.
"""

import pickle
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from compiling import Compiled, compiled, settle
from hypothesis import assume, given
from hypothesis import strategies as st
from interpreted import require_interpreted, require_same_codes, require_same_plan
from narrow import array
from numpy.typing import NDArray
from one_operator import computed, constant, one_operator
from shared_files import MODELS, PHOTOGRAPHS, shared
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import ConversionError
from tinsmith_export.frontend.load import load_keras
from tinsmith_export.ir.interpret import FLOAT_FUNCTIONS, Operands, compute, interpret
from tinsmith_export.ir.interpret.rounding import (
    requantize,
    requantized_product,
    requantized_sum,
)
from tinsmith_export.ir.ops import Conv2D, Function
from tinsmith_export.ir.quantization import QuantParams, QuantWeights
from tinsmith_export.passes.rewrite import FUNCTIONS
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.tflite.outputs import run_outputs
from tinsmith_export.targets.tflite.target import TfliteTarget
from tinsmith_runtime.backends import create_backend
from tinsmith_train.models import build_model
from tinsmith_train.recipe import RECIPES

CODES = np.arange(-128, 128).astype(np.int8)
ZERO_POINTS = st.integers(-128, 127)
SCALES = st.floats(2.0**-20, 2.0**4, width=32)


def float32(value: Fraction) -> Fraction:
    """The `float32` next to a number; halfway between two, the even one."""
    if not value:
        return value
    exponent = 0
    while abs(value) >= 2**24:
        value, exponent = value / 2, exponent + 1
    while abs(value) < 2**23:
        value, exponent = value * 2, exponent - 1
    return round(value) * Fraction(2) ** exponent


def nearest_code(value: Fraction, output: QuantParams) -> int:
    """Python rounds a fraction half to even."""
    return max(-128, min(127, round(value) + output.zero_point))


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.floats(2.0**-32, 255, width=32),
    ZERO_POINTS,
)
def test_a_sum_of_products_is_requantized_by_two_roundings_to_float32(
    total: int, scale: float, zero_point: int
) -> None:
    output = QuantParams(1.0, zero_point)
    found = requantize(np.array([total], np.int32), np.float32(scale), output)
    exact = float32(float32(Fraction(total)) * Fraction(scale))
    assert found == nearest_code(exact, output)


@given(st.integers(-255, 255), st.integers(-255, 255), SCALES, SCALES, ZERO_POINTS)
def test_a_product_of_tensors_is_requantized_alike(
    one: int, other: int, first: float, second: float, zero_point: int
) -> None:
    assume(first * second < 256)  # no engine takes more: see the refusals below
    output = QuantParams(1.0, zero_point)
    pair = np.array([one], np.int32), np.array([other], np.int32)
    found = requantized_product(*pair, (first, second), output)
    exact = float32(one * other * float32(Fraction(first) * Fraction(second)))
    assert found == nearest_code(exact, output)


@given(
    st.integers(0, 500).map(lambda n: 2 * n + 11),
    st.integers(1, 100),
    st.integers(1, 100),
    SCALES,
    ZERO_POINTS,
)
def test_a_sum_in_odd_parts_of_the_output_is_the_nearest_code(
    odd: int, first: int, second: int, scale: float, zero_point: int
) -> None:
    """No such sum lies halfway between two codes, nor as close to it as 21 bits are wrong."""
    first, second = min(first, odd), min(second, odd)
    output = QuantParams(float(np.float32(scale)), zero_point)
    parts = [np.float32(output.scale * part / odd) for part in (first, second)]
    steps = np.arange(-255, 256, dtype=np.int32)
    one, other = np.meshgrid(steps, steps[::7])
    found = requantized_sum(one, other, [float(part) for part in parts], output)
    total = one * first + other * second
    nearest = (2 * total + odd) // (2 * odd)  # there are no halves
    np.testing.assert_array_equal(found, np.clip(nearest + zero_point, -128, 127))


def test_a_sum_is_rounded_half_up_before_the_zero_point_is_added() -> None:
    halves = np.array([-3, -2, -1, 0, 1, 2, 3], np.int32)
    found = requantized_sum(halves, 0 * halves, (0.5, 0.5), QuantParams(1.0, 10))
    assert found.tolist() == [9, 9, 10, 10, 11, 11, 12]
    found = requantize(halves, np.float32(0.5), QuantParams(1.0, 10))
    assert found.tolist() == [8, 9, 10, 10, 10, 11, 12]


def test_scales_that_xnnpack_does_not_take_are_errors() -> None:
    one = np.ones(1, np.int32)
    with pytest.raises(ConversionError, match="under 256 codes, got 256"):
        requantize(one, np.float32(256), QuantParams(1.0, 0))
    for scale in (2.0**-11, 256.0):
        with pytest.raises(ConversionError, match="expected summands of"):
            requantized_sum(one, one, (scale, 2.0**-12), QuantParams(1.0, 0))


def drawn(rng: np.random.Generator, low: float, high: float) -> QuantParams:
    """Quantization parameters at random, the scale between two powers of 2."""
    return QuantParams(float(np.float32(2 ** rng.uniform(low, high))), int(rng.integers(-128, 128)))


def litert_gives(data: bytes, *inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    (found,) = run_outputs(data, inputs).values()
    return array(found)


PAIRS = [array.reshape(1, 256, 256, 1) for array in np.meshgrid(CODES, CODES)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("name", "options", "function"),
    [
        ("ADD", schema.AddOptionsT, requantized_sum),
        ("MUL", schema.MulOptionsT, requantized_product),
    ],
)
def test_all_pairs_of_codes(name: str, options: Any, function: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = drawn(rng, -7, 1), drawn(rng, -7, 1)
    output = drawn(rng, -7, 1)
    if name == "ADD":
        larger = max(first.scale, second.scale)
        output = QuantParams(
            float(np.float32(larger * 2 ** rng.uniform(-7.9, 4))), output.zero_point
        )
    tensors = [computed(PAIRS[0].shape, params) for params in (first, second, output)]
    wanted = litert_gives(one_operator(name, tensors[:2], tensors[2], options()), *PAIRS)
    one, other = (
        codes.astype(np.int32) - params.zero_point
        for codes, params in zip(PAIRS, (first, second), strict=True)
    )
    found = function(one, other, (first.scale, second.scale), output)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("seed", range(4))
def test_a_convolution_of_256_channels_each_with_a_scale_of_its_own(seed: int) -> None:
    rng, channels = np.random.default_rng(seed), 256
    image, output = drawn(rng, -8, 2), drawn(rng, -6, 2)
    codes = rng.integers(-128, 128, (1, 48, 48, 3)).astype(np.int8)
    kernel = rng.integers(-127, 128, (channels, 1, 1, 3)).astype(np.int8)
    bias = rng.integers(-20_000, 20_000, channels).astype(np.int32)
    # How many output codes a step of the sums is: from next to nothing to far too much.
    steps = 2 ** rng.uniform(-14, 2, channels)
    scale = (steps * output.scale / image.scale).astype(np.float32)
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    shape = (1, 48, 48, channels)
    data = one_operator(
        "CONV_2D",
        [
            computed(codes.shape, image),
            constant(kernel, scale),
            constant(bias, np.float32(image.scale) * scale),
        ],
        computed(shape, output),
        options,
    )
    node = Conv2D("conv", ("x",), shape[1:], kernel=np.zeros((1, 1, 3, channels), np.float32))
    weights = QuantWeights(np.moveaxis(kernel, 0, -1), scale, bias=bias)
    found = compute(node, Operands((codes,), (image,), output, weights))
    np.testing.assert_array_equal(found, litert_gives(data, codes))


FIXED = {"sigmoid": QuantParams(2.0**-8, -128), "tanh": QuantParams(2.0**-7, 0)}
TABLES = {"sigmoid": "LOGISTIC", "tanh": "TANH", "gelu": "GELU"}


def test_each_function_has_a_table_or_is_float() -> None:
    assert {*FUNCTIONS} == {*TABLES, *FLOAT_FUNCTIONS}


@pytest.mark.parametrize("function", TABLES)
def test_the_tables_of_functions(function: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(32):
        source = drawn(rng, -10, 2)
        output = FIXED.get(function, drawn(rng, -8, 2))
        tensors = [computed((1, 256), params) for params in (source, output)]
        options = schema.GeluOptionsT() if function == "gelu" else None
        data = one_operator(TABLES[function], tensors[:1], tensors[1], options)
        node = Function("f", ("x",), (256,), function=function)
        found = compute(node, Operands((CODES[None],), (source,), output, None))
        np.testing.assert_array_equal(found, litert_gives(data, CODES[None]))


def test_the_small_model(converted: Compiled) -> None:
    require_interpreted(converted)


@pytest.mark.parametrize("name", RECIPES)
def test_the_models_of_train(name: str) -> None:
    model = settle(build_model(name, (28, 28, 1), 10))
    require_interpreted(compiled(model, count=32))


@pytest.mark.parametrize(("name", "enlarged"), [("pretrainedResnet", 1), ("vww_96", 3)])
def test_mlperf_tiny(name: str, enlarged: int) -> None:
    photographs = np.load(shared(PHOTOGRAPHS))["x_test"][:16]
    inputs = photographs.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    model = load_keras(shared(MODELS, f"{name}.h5"))
    require_interpreted(compiled(model, inputs=inputs))


@pytest.mark.parametrize("regions", [True, False])
def test_layers_that_are_kept_float(converted: Compiled, regions: bool) -> None:
    calibration = replace(converted.quantized.calibration, regions=regions)
    quantized = replace(converted.quantized, calibration=calibration)
    quantized = quantized.keeping(("depth", "conv2", "answer"))
    assert bool(quantized.unrounded) == regions
    integers = lower(quantized, converted.entry.sources, tuple("abcde"), True)
    model = quant_graph(integers)
    assert model.weights.keys() == {"conv1", "hidden"}
    data = TfliteTarget().emit(integers)
    require_same_codes(model, data, converted.codes)
    if not regions:  # a plan holds codes alone
        require_same_plan(integers, data, converted.codes)


def test_every_node_is_given(converted: Compiled) -> None:
    model = quant_graph(converted.integers)
    codes = converted.codes[:2]
    found = interpret(model, codes)
    assert found.keys() == {node.name for node in model.graph.nodes}
    assert {array.dtype for array in found.values()} == {np.dtype(np.int8)}
    assert all(found[node.name].shape == (2, *node.shape) for node in model.graph.nodes)
    (output,) = model.graph.outputs
    wanted = create_backend("litert", converted.files["model.int8.tflite"], 1).run(codes)
    np.testing.assert_array_equal(found[output.name], wanted)


def test_it_travels_by_pickle(converted: Compiled) -> None:
    """So a test may hand it to another process."""
    model = quant_graph(converted.integers)
    copied = pickle.loads(pickle.dumps(model))
    pairs = [interpret(one, converted.codes[:1]) for one in (model, copied)]
    for name, codes in pairs[0].items():
        np.testing.assert_array_equal(pairs[1][name], codes)
