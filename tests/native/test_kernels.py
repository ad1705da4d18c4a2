"""Every kernel of libtinsmith gives what the interpreter gives, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from narrow import array
from native_plans import (
    ONE,
    native,
    params32,
    plan_of,
    quantized,
    random_codes,
    require_exact,
)
from native_products import Case, product, shaped

from tinsmith_export.errors import TargetError
from tinsmith_export.ir import embedding, moving, normalization, ops
from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.ops import Conv2D
from tinsmith_export.ir.quantization import QuantParams, QuantWeights
from tinsmith_export.ir.softmax import SOFTMAX_PARAMS
from tinsmith_export.passes.rewrite import FUNCTIONS
from tinsmith_export.targets.native.plan import write_plan
from tinsmith_runtime.batch import parts

ZERO_POINTS = st.integers(-128, 127)
SCALES = st.floats(2.0**-12, 2.0**4, width=32)
PARAMS = st.builds(QuantParams, SCALES, ZERO_POINTS)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 9)
BOTH: tuple[ops.Padding, ...] = ("same", "valid")
PADDINGS = st.sampled_from(BOTH)
PADS = st.tuples(st.integers(0, 3), st.integers(0, 3))
CASES = st.builds(
    Case,
    st.tuples(SIZES, SIZES),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    PADDINGS,
    st.integers(1, 3),
    st.integers(1, 21),
    st.integers(1, 21),
    st.booleans(),
    st.tuples(PADS, PADS),
    st.sampled_from(["random", "sparse", "high", "low"]),
    SEEDS,
    PARAMS,
    PARAMS,
).filter(
    lambda case: all(
        size + sum(around) >= (kernel - 1) * dilation + 1
        for size, around, kernel, dilation in zip(
            case.image, case.around, case.kernel, case.dilation, strict=True
        )
    )
)


@given(CASES)
@settings(deadline=None, max_examples=200)
def test_products(case: Case) -> None:
    model = product(case)
    require_exact(model, random_codes(model, case.seed))


@given(CASES)
@settings(deadline=None, max_examples=40)
def test_products_of_layers_kept_float(case: Case) -> None:
    """Sums of doubles in another order may fall to either side of an edge, once in 10^8 or so."""
    model = product(case)
    (node,) = model.graph.weighted
    rng = np.random.default_rng(case.seed)
    kernel = rng.normal(size=node.kernel.shape).astype(np.float32)
    floats = replace(node, kernel=kernel, bias=rng.normal(size=node.channels).astype(np.float32))
    model = replace(model, graph=model.graph.replaced(floats), weights={})
    require_exact(model, random_codes(model, case.seed), tolerance=1)


def test_sums_beyond_what_float_holds() -> None:
    """From 2^24 on, the conversion to float rounds: halves to even, as LiteRT's does."""
    sums = np.concatenate([2**24 + np.arange(64), 2**30 + np.arange(-64, 64), [2**31 - 1 - 255]])
    sums = np.concatenate([sums, -sums]).astype(np.int32)
    kernel = np.ones((1, 1, 1, len(sums)), np.int8)
    node = Conv2D("y", ("x0",), (1, 1, len(sums)), kernel=kernel.astype(np.float32))
    # So that one step of what float holds is one step of the output.
    scale = (127 / np.abs(sums)).astype(np.float32)
    weights = QuantWeights(kernel, scale, bias=sums)
    params = {"x0": ONE, "y": ONE}
    model = quantized(node, shapes=[(1, 1, 1)], params=params, weights={"y": weights})
    codes = np.arange(-128, 128).astype(np.int8).reshape(256, 1, 1, 1)
    require_exact(model, codes)


def test_dense_layers_of_many_sizes() -> None:
    rng = np.random.default_rng(0)
    for inputs in (*range(1, 70), 127, 128, 129, 640, 3000):
        outputs = int(rng.integers(1, 40))
        case = Case(
            *((1, 1), (1, 1), (1, 1), (1, 1), "valid", 1, inputs, outputs, False),
            *(((0, 0), (0, 0)), "random", inputs, params32(0.1, -7), params32(0.2, 3)),
        )
        model = product(case)
        require_exact(model, random_codes(model, inputs))


PAIRS = tuple(array.reshape(1, 256, 256, 1) for array in np.meshgrid(*2 * [np.arange(-128, 128)]))


@given(PARAMS, PARAMS, PARAMS, st.integers(-9, 7))
@settings(deadline=None, max_examples=40)
def test_all_pairs_of_codes(
    one: QuantParams, other: QuantParams, output: QuantParams, exponent: int
) -> None:
    codes = tuple(array.astype(np.int8) for array in PAIRS)
    shape = (256, 256, 1)
    larger = max(one.scale, other.scale)
    within = QuantParams(float(np.float32(larger * 2.0**-exponent)), output.zero_point)
    for node, result in (
        (ops.Add("y", ("x0", "x1"), shape), within),
        (ops.Multiply("y", ("x0", "x1"), shape), output),
        (ops.Maximum("y", ("x0", "x1"), shape), one),
        (ops.Minimum("y", ("x0", "x1"), shape), one),
    ):
        second = one if isinstance(node, ops.Maximum | ops.Minimum) else other
        params = {"x0": one, "x1": second, "y": result}
        if one.scale * second.scale / result.scale < 256:
            require_exact(quantized(node, shapes=[shape, shape], params=params), codes)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data(), SEEDS)
@settings(deadline=None, max_examples=100)
def test_pairs_of_other_shapes(shape: list[int], data: st.DataObject, seed: int) -> None:
    """What has size 1 is taken for every place."""
    ones = [data.draw(st.booleans()) for _ in shape]
    small = tuple(1 if one else size for one, size in zip(ones, shape, strict=True))
    pair = [tuple(shape), small]
    if data.draw(st.booleans()):
        pair.reverse()
    params = {"x0": params32(0.5, 3), "x1": params32(0.25, -9), "y": params32(0.75, 20)}
    for node in (
        ops.Add("y", ("x0", "x1"), tuple(shape)),
        ops.Multiply("y", ("x0", "x1"), tuple(shape)),
        ops.Maximum("y", ("x0", "x1"), tuple(shape)),
        ops.Minimum("y", ("x0", "x1"), tuple(shape)),
    ):
        if isinstance(node, ops.Maximum | ops.Minimum):
            params = dict.fromkeys(params, ONE)
        model = quantized(node, shapes=pair, params=params)
        require_exact(model, random_codes(model, seed))


@given(SIZES, SIZES, SIZES, PARAMS, PARAMS, ZERO_POINTS, SEEDS)
@settings(deadline=None)
def test_a_product_with_a_constant(
    rows: int,
    columns: int,
    channels: int,
    source: QuantParams,
    output: QuantParams,
    zero: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (rows, columns, 1)).astype(np.int8)
    scale = np.array([output.scale / source.scale * 0.4], np.float32)
    node = ops.Weigh("y", ("x0",), (rows, columns, channels), factor=codes.astype(np.float32))
    weights = {"y": QuantWeights(codes, scale, zero)}
    params = {"x0": source, "y": output}
    model = quantized(node, shapes=[node.shape], params=params, weights=weights)
    require_exact(model, random_codes(model, seed))


@given(st.tuples(SIZES, SIZES, SIZES), st.data(), PARAMS, SEEDS)
@settings(deadline=None, max_examples=60)
def test_what_moves_codes(
    image: tuple[int, int, int], data: st.DataObject, params: QuantParams, seed: int
) -> None:
    rows, columns, channels = image
    small = st.integers(0, 3)
    pads = data.draw(st.tuples(PADS, PADS))
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    kept = rows - top, columns - left - data.draw(st.integers(0, columns - 1 - left)), channels
    sizes = 1 + data.draw(small), 1 + data.draw(small)
    block = data.draw(st.integers(1, 3))
    pool = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    padding = data.draw(PADDINGS)
    deep = rows, columns, channels * block**2
    for node, source in (
        (ops.ZeroPadding2D("y", ("x0",), (), padding=pads), image),
        (moving.Slice("y", ("x0",), kept, begin=(top, left, 0), steps=(1, 1, 1)), image),
        (ops.UpSampling2D("y", ("x0",), (), size=sizes), image),
        (ops.DepthToSpace("y", ("x0",), (), block=block), deep),
        (ops.MaxPooling2D("y", ("x0",), (), pool_size=pool, strides=sizes, padding=padding), image),
        (ops.Reshape("y", ("x0",), (channels, rows * columns)), image),
        (ops.Clip("y", ("x0",), image, clip=(0.0, None)), image),
    ):
        model = quantized(shaped(node, source), shapes=[source], params={"x0": params, "y": params})
        require_exact(model, random_codes(model, seed))


@given(st.integers(1, 80), SEEDS)
@settings(deadline=None, max_examples=20)
def test_pooling_of_many_channels(channels: int, seed: int) -> None:
    image = 5, 4, channels
    node = ops.MaxPooling2D("y", ("x0",), (), pool_size=(2, 3), strides=(2, 1), padding="same")
    model = quantized(shaped(node, image), shapes=[image], params={"x0": ONE, "y": ONE})
    require_exact(model, random_codes(model, seed))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), PARAMS, SEEDS)
@settings(deadline=None)
def test_channels_behind_each_other(channels: list[int], params: QuantParams, seed: int) -> None:
    shapes = [(3, 2, count) for count in channels]
    names = tuple(f"x{i}" for i in range(len(channels)))
    node = ops.Concatenate("y", names, (3, 2, sum(channels)), axis=2)
    model = quantized(node, shapes=shapes, params=dict.fromkeys((*names, "y"), params))
    require_exact(model, random_codes(model, seed))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions(function: str) -> None:
    node = ops.Function("y", ("x0",), (256,), function=function)
    params = {"x0": params32(0.03, 10), "y": QuantParams(2.0**-8, -128)}
    model = quantized(node, shapes=[(256,)], params=params)
    require_exact(model, np.arange(-128, 128).astype(np.int8)[None])


@given(SIZES, st.integers(1, 70), PARAMS, SEEDS)
@settings(deadline=None)
def test_layer_normalization(places: int, channels: int, source: QuantParams, seed: int) -> None:
    """Its sums of doubles may fall to either side of an edge, once in 10^8 or so."""
    rng = np.random.default_rng(seed)
    gamma, beta = rng.normal(size=(2, channels)).astype(np.float32)
    node = normalization.LayerNormalization(
        "y", ("x0",), (places, channels), gamma=gamma, beta=beta, epsilon=1e-3
    )
    params = {"x0": source, "y": params32(0.02, 5)}
    model = quantized(node, shapes=[node.shape], params=params)
    require_exact(model, random_codes(model, seed), tolerance=1)


@given(SIZES, st.integers(1, 5), st.integers(1, 20), st.booleans(), PARAMS, SEEDS)
@settings(deadline=None)
def test_normalization_of_groups(
    places: int, groups: int, size: int, by_place: bool, source: QuantParams, seed: int
) -> None:
    """As of layers; by place without a mean, or of groups of channels over all places."""
    rng = np.random.default_rng(seed)
    shape = (places, 2, groups * size)
    gamma, beta = rng.normal(size=(2, groups * size)).astype(np.float32)
    start: tuple[str, tuple[str], tuple[int, ...]] = ("y", ("x0",), shape)
    node: normalization.Normalization
    if by_place:
        node = normalization.LayerNormalization(
            *start, gamma=gamma, beta=beta, epsilon=1e-3, centered=False
        )
    else:
        node = normalization.GroupNormalization(
            *start, gamma=gamma, beta=beta, epsilon=1e-3, groups=groups
        )
    params = {"x0": source, "y": params32(0.02, 5)}
    model = quantized(node, shapes=[shape], params=params)
    require_exact(model, random_codes(model, seed), tolerance=1)


@given(st.integers(1, 700), st.integers(1, 9), PARAMS, SEEDS)
@settings(deadline=None)
def test_rows_of_a_table(rows: int, width: int, params: QuantParams, seed: int) -> None:
    """The last one for all numbers beyond."""
    table = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    node = embedding.Embedding("y", ("x0",), (7, width), table=table)
    model = quantized(node, shapes=[(7, 2)], params={"x0": QuantParams(1.0, -128), "y": params})
    codes = array(random_codes(model, seed))
    codes[2, :, 1] = -128  # of numbers below 256
    require_exact(model, codes)


def test_a_branch_lives_until_it_is_read() -> None:
    """Sums write in place where they may, and nowhere else."""
    shape = (4, 4, 3)
    params = {name: params32(0.5, 1) for name in ("x0", "a", "b", "c", "d", "e", "f")}
    nodes = (
        ops.Maximum("a", ("x0", "x0"), shape),
        ops.Add("b", ("a", "x0"), shape),
        ops.Reshape("c", ("b",), (48,)),
        ops.Reshape("d", ("a",), (48,)),
        ops.Add("e", ("c", "d"), (48,)),
        ops.Add("f", ("c", "e"), (48,)),
    )
    model = quantized(*nodes, shapes=[shape], params=params)
    require_exact(model, random_codes(model, 1))
    plan = plan_of(model)
    assert plan.arena_bytes < 6 * 64


def test_uint8_codes_and_batches() -> None:
    shape = (3, 2)
    node = ops.Add("y", ("x0", "x1"), shape)
    params = {"x0": params32(0.5, 3), "x1": params32(0.25, -9), "y": params32(0.75, 20)}
    model = quantized(node, shapes=[shape, shape], params=params)
    backend = native(write_plan(plan_of(model)))
    codes = parts(random_codes(model, 0, count=130))
    wanted = backend.run(codes)
    pixels = tuple((array.astype(np.int16) + 128).astype(np.uint8) for array in codes)
    np.testing.assert_array_equal(backend.run(pixels), wanted)
    np.testing.assert_array_equal(backend.run((pixels[0], codes[1])), wanted)
    strided = tuple(np.repeat(array, 2, axis=2)[:, :, ::2] for array in codes)
    np.testing.assert_array_equal(backend.run(strided), wanted)
    assert np.asarray(backend.run(tuple(array[:0] for array in codes))).shape == (0, 3, 2)


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)


@given(SHAPES, st.data(), PARAMS, SEEDS)
@settings(deadline=None, max_examples=100)
def test_transpositions(
    shape: tuple[int, ...], data: st.DataObject, params: QuantParams, seed: int
) -> None:
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    node = moving.Transpose("y", ("x0",), tuple(shape[axis] for axis in axes), permutation=axes)
    model = quantized(node, shapes=[shape], params={"x0": params, "y": params})
    require_exact(model, random_codes(model, seed))


def test_a_transposition_of_more_loops_than_a_copy_has() -> None:
    node = moving.Transpose("y", ("x0",), (2,) * 6, permutation=(5, 4, 3, 2, 1, 0))
    params = {"x0": ONE, "y": ONE}
    with pytest.raises(TargetError, match="`y`: a plan moves codes in 5 loops at most, this takes"):
        plan_of(quantized(node, shapes=[(2,) * 6], params=params))


@given(SHAPES, st.data(), PARAMS, SEEDS)
@settings(deadline=None, max_examples=100)
def test_concatenations(
    shape: tuple[int, ...], data: st.DataObject, params: QuantParams, seed: int
) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    names = tuple(f"x{place}" for place in range(len(sizes)))
    joined = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    node = ops.Concatenate("y", names, joined, axis=axis)
    model = quantized(node, shapes=shapes, params=dict.fromkeys((*names, "y"), params))
    require_exact(model, random_codes(model, seed))


@given(SHAPES, st.data(), PARAMS, SEEDS)
@settings(deadline=None, max_examples=100)
def test_slices(
    shape: tuple[int, ...], data: st.DataObject, params: QuantParams, seed: int
) -> None:
    parts = [range(size)[data.draw(st.slices(size))] for size in shape]
    sizes = tuple(map(len, parts))
    assume(all(sizes))
    begin, steps = (tuple(getattr(p, name) for p in parts) for name in ("start", "step"))
    node = moving.Slice("y", ("x0",), sizes, begin=begin, steps=steps)
    model = quantized(node, shapes=[shape], params={"x0": params, "y": params})
    require_exact(model, random_codes(model, seed))


@given(SHAPES, st.data(), PARAMS, SEEDS)
@settings(deadline=None, max_examples=100)
def test_gatherings(
    shape: tuple[int, ...], data: st.DataObject, params: QuantParams, seed: int
) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    places = st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=6)
    indices = tuple(data.draw(places))
    found = (*shape[:axis], len(indices), *shape[axis + 1 :])
    node = moving.Gather("y", ("x0",), found, axis=axis, indices=indices)
    model = quantized(node, shapes=[shape], params={"x0": params, "y": params})
    require_exact(model, random_codes(model, seed))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.tuples(SIZES, st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from(["both", "one", "other"]),
    st.tuples(PARAMS, PARAMS),
    st.floats(2.0**-12, 255.0, width=32),
    ZERO_POINTS,
    SEEDS,
)
def test_the_product_of_matrices(
    before: list[int],
    sizes: tuple[int, int, int],
    broadcast: str,
    params: tuple[QuantParams, QuantParams],
    ratio: float,
    zero_point: int,
    seed: int,
) -> None:
    rows, inner, columns = sizes
    ones = [1] * len(before)
    shapes = (
        (*(before if broadcast != "one" else ones), rows, inner),
        (*(before if broadcast != "other" else ones), inner, columns),
    )
    output = params32(params[0].scale * params[1].scale / ratio, zero_point)
    node = MatMul("y", ("x0", "x1"), (*before, rows, columns))
    names = dict(zip(("x0", "x1"), params, strict=True)) | {"y": output}
    model = quantized(node, shapes=shapes, params=names)
    require_exact(model, random_codes(model, seed))


@settings(deadline=None, max_examples=100)
@given(SIZES, st.integers(1, 70), st.floats(2.0**-12, 2.0, width=32), ZERO_POINTS, SEEDS)
def test_softmax(rows: int, channels: int, scale: float, zero_point: int, seed: int) -> None:
    node = Softmax("y", ("x0",), (rows, channels))
    params = {"x0": QuantParams(scale, zero_point), "y": SOFTMAX_PARAMS}
    model = quantized(node, shapes=[(rows, channels)], params=params)
    codes = random_codes(model, seed)
    require_exact(model, codes)
    found = parts(native(write_plan(plan_of(model))).run(codes))[0]
    (given_codes,) = parts(codes)
    steps = given_codes.astype(np.float64) * scale
    exact = np.exp(steps - steps.max(-1, keepdims=True))
    exact /= exact.sum(-1, keepdims=True)
    # Half a code, and what the last code is short of 1; exponentials are right to 2^-24.
    off = np.abs((found + 128.0) / 256 - np.minimum(exact, 255 / 256)).max()
    assert off <= 0.5 / 256 + channels * 2.0**-24
