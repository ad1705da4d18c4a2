"""Sums and products whose branches have scales of their own are exact in every engine."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from one_operator import computed, one_operator
from onnx import TensorProto, helper
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import Operands, compute
from tinsmith_export.ir.ops import (
    Add,
    Clipping,
    Concatenate,
    Conv2D,
    Function,
    InputLayer,
    MaxPooling2D,
    Multiply,
    Node,
)
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fractions import Fixed, Scales, product_scales, sum_scales
from tinsmith_export.quantize.ranges import share_ranges
from tinsmith_export.quantize.separate import separate
from tinsmith_export.targets.onnx import session
from tinsmith_export.targets.tflite import outputs
from tinsmith_export.verify.pairs import inexact_pairs, require_exact_pairs
from tinsmith_runtime.backends import signed, unsigned

CODES = np.arange(-128, 128).astype(np.int8)
ONE, OTHER = (codes.reshape(1, 256, 256, 1) for codes in np.meshgrid(CODES, CODES))
NODES: dict[str, Add | Multiply] = {
    "sum": Add("meet", ("a", "b"), ()),
    "product": Multiply("meet", ("a", "b"), ()),
}
CHOOSE = {"sum": sum_scales, "product": product_scales}


def float32(value: float) -> float:
    return float(np.float32(value))


def exact_codes(kind: str, scales: Scales, zero_points: tuple[int, int, int]) -> NDArray[np.int64]:
    """The nearest code of every pair, in rational arithmetic; with an odd denominator there is one.

    The scales are rounded to float32: they stand for the smallest odd denominator near them.
    """
    one, other, output = scales
    first, second = (
        codes.astype(np.int64) - point
        for codes, point in zip((ONE, OTHER), zero_points, strict=False)
    )
    ratios = [one / output, other / output] if kind == "sum" else [one * other / output]
    choices = ([round(ratio * odd) for ratio in ratios] for odd in range(1, 2048, 2))
    odd, parts = next(
        (odd, parts)
        for odd, parts in zip(range(1, 2048, 2), choices, strict=True)
        if np.allclose(np.array(parts) / odd, ratios, rtol=3 * 2.0**-24, atol=0)
    )
    numerators = (
        first * parts[0] + second * parts[1] if kind == "sum" else first * second * parts[0]
    )
    nearest = (2 * numerators + odd) // (2 * odd)
    codes: NDArray[np.int64] = np.clip(nearest + zero_points[2], -128, 127)
    return codes


def interpreted(kind: str, params: list[QuantParams]) -> NDArray[np.int8]:
    return compute(NODES[kind], Operands((ONE, OTHER), (params[0], params[1]), params[2], None))


def quantized(scales: Scales, zero_points: tuple[int, int, int]) -> list[QuantParams]:
    return [QuantParams(*pair) for pair in zip(scales, zero_points, strict=True)]


ZERO_POINTS = st.tuples(*[st.integers(-128, 127)] * 3)
SUMS_FIXED = st.sampled_from(
    [(False, False, False), (True, False, False), (False, True, False), (False, False, True)]
)
PRODUCTS_FIXED = st.sampled_from([(True, True, False), (True, False, True), (False, True, True)])
OUTPUTS = st.floats(2.0**-14, 2.0**4, width=32)
# Of the output's scale, or of what the product of the branches' scales is.
RATIOS = st.floats(2.0**-5, 2.0**6)


@given(OUTPUTS, RATIOS, RATIOS, SUMS_FIXED, ZERO_POINTS)
def test_a_sum_is_exact_on_all_pairs(
    output: float, one: float, other: float, fixed: Fixed, zero_points: tuple[int, int, int]
) -> None:
    wanted = float32(output * one), float32(output * other), output
    require_exact("sum", wanted, fixed, zero_points)


@given(OUTPUTS, OUTPUTS, RATIOS, PRODUCTS_FIXED, ZERO_POINTS)
def test_a_product_is_exact_on_all_pairs(
    one: float, other: float, ratio: float, fixed: Fixed, zero_points: tuple[int, int, int]
) -> None:
    require_exact("product", (one, other, float32(one * other / ratio)), fixed, zero_points)


def require_exact(
    kind: str, wanted: Scales, fixed: Fixed, zero_points: tuple[int, int, int]
) -> None:
    found = CHOOSE[kind](wanted, fixed)
    assert found is not None
    for scale, least, is_fixed in zip(found, wanted, fixed, strict=True):
        # Odd denominators of wide ratios are small, and leave fewer fractions.
        assert scale == pytest.approx(least, rel=3e-7 if is_fixed else 1)
        assert scale >= least * (1 - 3e-6)
    # A scale that is given stays what it is, to the bit.
    found = tuple(w if f else s for s, w, f in zip(found, wanted, fixed, strict=True))  # type: ignore[assignment]
    params = quantized(found, zero_points)
    assert inexact_pairs(NODES[kind], *params) == 0
    np.testing.assert_array_equal(interpreted(kind, params), exact_codes(kind, found, zero_points))


@given(OUTPUTS, st.floats(0.2, 1.0), st.floats(0.2, 1.0), SUMS_FIXED)
def test_scales_are_hardly_coarser_than_wanted(
    output: float, one: float, other: float, fixed: Fixed
) -> None:
    wanted = float32(output * one), float32(output * other), output
    found = sum_scales(wanted, fixed)
    assert found is not None
    np.testing.assert_allclose(found, wanted, rtol=0.004)


ENGINES = {
    "ADD": (
        "sum",
        "Add",
        schema.AddOptionsT,
        (
            ((0.02, 0.03, 0.04), (False, False, False)),
            ((1 / 255, 0.02, 0.021), (True, False, False)),
            ((2.0**-8, 0.0001, 0.03), (True, False, False)),
            ((0.03, 0.5, 0.01), (False, False, True)),
            ((0.9, 0.02, 0.01), (False, False, False)),
            ((0.017, 0.017, 0.03), (False, False, False)),
            ((0.0071, 0.0073, 0.0059), (False, True, False)),
        ),
    ),
    "MUL": (
        "product",
        "Mul",
        schema.MulOptionsT,
        (
            ((0.02, 2.0**-8, 0.02), (True, True, False)),
            ((0.02, 2.0**-7, 0.015), (False, True, True)),
            ((1 / 255, 1 / 255, 1 / 255), (True, True, False)),
            ((0.03, 0.5, 0.0003), (True, True, False)),
        ),
    ),
}


def onnx_of(operator: str, params: list[QuantParams]) -> bytes:
    """One operator between DequantizeLinear and QuantizeLinear, on uint8."""
    constants, nodes = [], []
    for name, one in zip("abc", params, strict=True):
        scale = helper.make_tensor(f"{name}_scale", TensorProto.FLOAT, (), [one.scale])
        zero = helper.make_tensor(f"{name}_zero", TensorProto.UINT8, (), [one.zero_point + 128])
        constants += [scale, zero]
    for name in "ab":
        inputs = [name, f"{name}_scale", f"{name}_zero"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_real"]))
    nodes.append(helper.make_node(operator, ["a_real", "b_real"], ["real"]))
    nodes.append(helper.make_node("QuantizeLinear", ["real", "c_scale", "c_zero"], ["c"]))
    ports = [helper.make_tensor_value_info(name, TensorProto.UINT8, ONE.shape) for name in "abc"]
    graph = helper.make_graph(nodes, "pairs", ports[:2], ports[2:], constants)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ENGINES)
def test_the_engines_are_exact_on_all_pairs(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, operator, options, cases = ENGINES[name]
    for wanted, fixed in cases:
        found = CHOOSE[kind]((float32(wanted[0]), float32(wanted[1]), float32(wanted[2])), fixed)
        assert found is not None
        one, other, output = (int(point) for point in rng.integers(-128, 128, 3))
        params = quantized(found, (one, other, output))
        expected = exact_codes(kind, found, (one, other, output))
        np.testing.assert_array_equal(interpreted(kind, params), expected)
        tensors = [computed(ONE.shape, one) for one in params]
        data = one_operator(name, tensors[:2], tensors[2], options())
        (codes,) = outputs.run_outputs(data, (ONE, OTHER)).values()
        np.testing.assert_array_equal(codes, expected)
        file = onnx_of(operator, params)
        kernels = {
            node.op_type for node in onnx.load_from_string(session.optimized_model(file)).graph.node
        }
        assert kernels == {f"QLinear{operator}"}
        (codes,) = session.run_outputs(file, (unsigned(ONE), unsigned(OTHER))).values()
        np.testing.assert_array_equal(signed(codes), expected)


SHAPE = (2, 2, 4)
SOURCE = {"input": QuantParams(1 / 255, -128)}


def conv(name: str, edge: str = "input", clip: Clipping = (None, None)) -> Node:
    return Conv2D(name, (edge,), SHAPE, kernel=np.ones((1, 1, 4, 4), np.float32), clip=clip)


def graph_of(*nodes: Node) -> Graph:
    return Graph((InputLayer("input", (), SHAPE), *nodes))


def total(name: str, *edges: str) -> Node:
    return Add(name, edges, SHAPE)


def times(name: str, *edges: str) -> Node:
    return Multiply(name, edges, SHAPE)


def joined(name: str, *edges: str) -> Node:
    return Concatenate(name, edges, (2, 2, 4 * len(edges)), axis=2)


def sigmoid(name: str, edge: str) -> Node:
    return Function(name, (edge,), SHAPE, function="sigmoid")


def pooled(name: str, edge: str) -> Node:
    return MaxPooling2D(name, (edge,), SHAPE, pool_size=(1, 1), strides=(1, 1), padding="same")


# What is computed, and how many branches have to be requantized.
GRAPHS: dict[str, tuple[Graph, int]] = {
    "a chain of sums": (
        graph_of(
            *map(conv, "abcd"),
            total("ab", "a", "b"),
            total("abc", "ab", "c"),
            total("o", "abc", "d"),
        ),
        0,
    ),
    "sums of sums": (
        graph_of(
            *map(conv, "abcd"), total("ab", "a", "b"), total("cd", "c", "d"), total("o", "ab", "cd")
        ),
        0,
    ),
    "a tensor in two sums": (
        graph_of(*map(conv, "abc"), total("ab", "a", "b"), total("ac", "a", "c")),
        0,
    ),
    "a tensor in two sums that meet": (
        graph_of(
            *map(conv, "abc"), total("ab", "a", "b"), total("ac", "a", "c"), total("o", "ab", "ac")
        ),
        1,
    ),
    "a tensor twice": (graph_of(conv("a"), total("o", "a", "a")), 0),
    "a tensor and what it is a part of": (
        graph_of(*map(conv, "ab"), total("ab", "a", "b"), total("o", "ab", "a")),
        1,
    ),
    "a pooled tensor and itself": (graph_of(conv("a"), pooled("p", "a"), total("o", "a", "p")), 0),
    "an input": (graph_of(conv("a"), total("o", "input", "a")), 0),
    "an input and a sigmoid": (
        graph_of(conv("a"), sigmoid("s", "a"), total("o", "input", "s")),
        1,
    ),
    "two sigmoids": (
        graph_of(sigmoid("s", "input"), conv("a"), sigmoid("t", "a"), total("o", "s", "t")),
        0,
    ),
    "an input far too fine": (graph_of(conv("huge"), total("wide", "huge", "input")), 1),
    "sums in a concatenation": (
        graph_of(
            *map(conv, "abcd"),
            total("ab", "a", "b"),
            total("cd", "c", "d"),
            joined("o", "ab", "cd"),
        ),
        0,
    ),
    "a sum beside its branch": (
        graph_of(*map(conv, "ab"), total("ab", "a", "b"), joined("o", "a", "ab")),
        0,
    ),
    "a clip": (graph_of(conv("six", clip=(0.0, 6.0)), conv("b"), total("o", "six", "b")), 0),
    "squeeze and excite": (
        graph_of(
            *map(conv, "ab"),
            sigmoid("s", "a"),
            times("as", "a", "s"),
            total("o", "as", "b"),
            conv("c", "o"),
            sigmoid("t", "c"),
            times("ct", "c", "t"),
            total("p", "ct", "o"),
        ),
        0,
    ),
    "a swish that is a branch": (
        graph_of(
            *map(conv, "abc"),
            total("ab", "a", "b"),
            sigmoid("s", "ab"),
            times("swish", "ab", "s"),
            total("o", "swish", "c"),
        ),
        0,
    ),
    "a square": (graph_of(*map(conv, "ab"), times("aa", "a", "a"), total("o", "aa", "b")), 0),
    "a square of given scale": (
        graph_of(sigmoid("s", "input"), times("ss", "s", "s"), total("o", "ss", "s")),
        1,
    ),
    "a gate beside what it gates": (
        graph_of(conv("a"), sigmoid("s", "a"), times("as", "a", "s"), joined("o", "a", "as")),
        1,
    ),
}
SPANS = {
    "a": (-1.0, 2.0),
    "b": (-0.7, 0.1),
    "c": (-3.0, 2.5),
    "d": (0.0, 0.4),
    "six": (0.0, 6.0),
    "huge": (-500.0, 900.0),
    "wide": (-500.0, 900.0),
    "s": (0.1, 0.9),
    "t": (0.2, 0.8),
}


def observed(graph: Graph) -> dict[str, tuple[float, float]]:
    return {
        node.name: SPANS.get(node.name, (-1.5 * len(node.name), 2.0)) for node in graph.requantized
    }


@pytest.mark.parametrize("name", GRAPHS)
def test_every_sum_and_product_of_a_graph_is_exact(name: str) -> None:
    graph, expected = GRAPHS[name]
    apart, spans = separate(graph, observed(graph), SOURCE)
    added = len(apart.weighted) - len(graph.weighted)
    assert added == expected
    # Ranges may be chosen anew, narrower ones too.
    for factor in (1.0, 0.9, 0.4):
        narrowed = {
            name: (low * factor**index, high * factor**index)
            for index, (name, (low, high)) in zip((0, 1) * len(spans), spans.items(), strict=False)
        }
        params = share_ranges(apart, narrowed, SOURCE)
        assert params["input"] == SOURCE["input"]
        require_exact_pairs(apart, params)
        for node, (low, high) in narrowed.items():
            given = node in ("s", "t")
            own = QuantParams.covering(low, high)
            assert given or params[node].low <= own.low + 0.51 * params[node].scale
            assert given or params[node].high >= own.high - 0.51 * params[node].scale


def test_a_branch_has_a_scale_of_its_own() -> None:
    graph, _ = GRAPHS["a chain of sums"]
    spans = observed(graph)
    params = share_ranges(graph, spans, SOURCE)
    for name, span in spans.items():
        assert params[name].scale == pytest.approx(QuantParams.covering(*span).scale, rel=0.005)


def test_the_finer_of_two_given_scales_is_requantized() -> None:
    graph, _ = GRAPHS["an input and a sigmoid"]
    apart, spans = separate(graph, observed(graph), SOURCE)
    assert apart.node("o").inputs == ("input", "o/input")
    assert apart.sources("o/input") == {"o/input"}
    assert spans["o/input"] == SPANS["s"]


def test_scales_between_which_engines_differ_are_an_error() -> None:
    graph = graph_of(*map(conv, "ab"), total("o", "a", "b"))
    params = {**SOURCE, **dict.fromkeys("abo", QuantParams(1.0, 0))}
    require_exact_pairs(graph, params)
    params["a"] = QuantParams(0.5, 0)
    with pytest.raises(ConversionError, match=r"`o`: engines may differ on \d+ of 65536 "):
        require_exact_pairs(graph, params)


def test_what_no_scale_covers_is_an_error() -> None:
    """A sum that is clipped to far less than its branches."""
    graph = graph_of(*map(conv, "ab"), Add("o", ("a", "b"), SHAPE, clip=(0.0, 6.0)))
    spans = {"a": (-9000.0, 9000.0), "b": (-9000.0, 9000.0), "o": (0.0, 6.0)}
    with pytest.raises(ConversionError, match="layer `o`: its branches and it lie too far apart"):
        separate(graph, spans, SOURCE)
