"""Small quantized graphs, their plans, and what libtinsmith makes of them; no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir import embedding, normalization, ops
from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import Operands, compute, interpret
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.ops import Floats, Function, InputLayer, Node, OutputLayer
from tinsmith_export.ir.quantization import QuantGraph, QuantParams, QuantWeights
from tinsmith_export.ir.shapes import require_shapes
from tinsmith_export.targets.native.build import build_plan
from tinsmith_export.targets.native.compute import PlanBackend
from tinsmith_export.targets.native.plan import Plan, read_plan, write_plan
from tinsmith_runtime.backends import Backend
from tinsmith_runtime.batch import Arrays, joined, parts

CODES = np.arange(-128, 128).astype(np.int8)
ONE = QuantParams(1.0, 0)


def params32(scale: float, zero_point: int) -> QuantParams:
    """Quantization parameters with the `float32` that is next to a scale."""
    return QuantParams(float(np.float32(scale)), zero_point)


def native(data: bytes, threads: int = 1) -> Backend:
    """A plan on libtinsmith."""
    from tinsmith_native.backend import NativeBackend

    return NativeBackend(data, threads)


def quantized(
    *nodes: Node,
    shapes: Sequence[tuple[int, ...]],
    params: dict[str, QuantParams],
    weights: dict[str, QuantWeights] | None = None,
) -> QuantGraph:
    """A graph of inputs `x0`, `x1` and so on, some operators, and the last one's output."""
    inputs = [InputLayer(f"x{i}", (), shape) for i, shape in enumerate(shapes)]
    last = nodes[-1]
    output = OutputLayer("output", (last.name,), last.shape, title="y")
    graph = Graph((*inputs, *nodes, output))
    require_shapes(graph)
    return QuantGraph(graph, params | {"output": params[last.name]}, weights or {})


def tables(model: QuantGraph) -> dict[str, NDArray[np.int8]]:
    """The functions of a graph, by the interpreter."""
    found = {}
    for node in model.graph.layers:
        if isinstance(node, Function):
            params = (model.params[node.inputs[0]],)
            operands = Operands((CODES[None],), params, model.params[node.name], None)
            found[node.name] = compute(node, operands)[0]
    return found


def plan_of(model: QuantGraph) -> Plan:
    """The plan of a graph, with the graph's own names."""
    names = [[node.name for node in ends] for ends in (model.graph.inputs, model.graph.outputs)]
    return build_plan(model, tables(model), *names)


def random_codes(model: QuantGraph, seed: int, count: int = 3) -> Arrays:
    """Codes for every input, the extreme ones in the first two samples."""
    rng = np.random.default_rng(seed)
    found = []
    for node in model.graph.inputs:
        codes = rng.integers(-128, 128, (count, *node.shape), np.int8)
        codes[0], codes[1] = -128, 127
        found.append(codes)
    return joined(found)


def require_exact(model: QuantGraph, codes: Arrays, tolerance: int = 0) -> None:
    """Asserts that libtinsmith, and the plan in numpy, give the interpreter's codes."""
    plan = plan_of(model)
    data = write_plan(plan)
    assert read_plan(data) == plan
    assert write_plan(plan_of(model)) == data
    wanted = [interpret(model, codes)[node.name] for node in model.graph.outputs]
    for backend in (native(data), PlanBackend(data, 1)):
        for found, expected in zip(parts(backend.run(codes)), wanted, strict=True):
            assert found.dtype == np.int8
            assert found.shape == expected.shape
            difference = np.abs(found.astype(np.int16) - expected).max()
            assert difference <= tolerance, (backend.version, difference)


def plans_of_every_kind() -> dict[str, Plan]:
    """A plan for each kind of operator, and a small network."""
    image, half = (5, 6, 4), QuantParams(0.5, 1)
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> QuantWeights:
        codes = rng.integers(-127, 128, shape).astype(np.int8)
        scale = rng.uniform(2**-8, 2**-6, shape[-1]).astype(np.float32)
        return QuantWeights(codes, scale, bias=rng.integers(-999, 999, shape[-1]).astype("i4"))

    def floats(*shape: int) -> Floats:
        return rng.normal(size=shape).astype(np.float32)

    kept = ops.Conv2D(
        "y", ("x0",), (5, 6, 3), kernel=floats(3, 2, 4, 3), bias=floats(3), padding="same"
    )
    conv = replace(kept, name="conv")
    depthwise = ops.DepthwiseConv2D(
        "deep", ("conv",), (3, 3, 3), kernel=floats(3, 3, 3, 1), padding="same", strides=(2, 2)
    )
    pool = ops.MaxPooling2D(
        "y", ("x0",), (3, 3, 4), pool_size=(2, 2), strides=(2, 2), padding="same"
    )
    pooled = replace(pool, name="pool", inputs=("conv",), shape=(3, 3, 3))
    added = ops.Add("sum", ("deep", "pool"), (3, 3, 3))
    flat = ops.Reshape("flat", ("sum",), (1, 1, 27))
    answer = ops.Conv2D("y", ("flat",), (1, 1, 5), kernel=floats(1, 1, 27, 5))
    products = {"conv": weights(3, 2, 4, 3), "deep": weights(3, 3, 3), "y": weights(1, 1, 27, 5)}
    nodes: dict[str, tuple[list[Node], dict[str, QuantWeights]]] = {
        "float_product": ([kept], {}),
        "product": ([kept], {"y": weights(3, 2, 4, 3)}),
        "network": ([conv, depthwise, pooled, added, flat, answer], products),
        "add": ([ops.Add("y", ("x0", "x1"), image)], {}),
        "multiply": ([ops.Multiply("y", ("x0", "x1"), image)], {}),
        "weigh": (
            [ops.Weigh("y", ("x0",), image, factor=floats(5, 6, 1))],
            {"y": QuantWeights(weights(5, 6, 1).codes, np.array([0.01], np.float32), 3)},
        ),
        "maximum": ([ops.Maximum("y", ("x0", "x1"), image)], {}),
        "minimum": ([ops.Minimum("y", ("x0", "x1"), image)], {}),
        "table": ([ops.Function("y", ("x0",), image, function="tanh")], {}),
        "max_pool": ([pool], {}),
        "pad": ([ops.ZeroPadding2D("y", ("x0",), (6, 9, 4), padding=((1, 0), (1, 2)))], {}),
        "crop": ([Slice("y", ("x0",), (3, 5, 4), begin=(1, 1, 0), steps=(1, 1, 1))], {}),
        "upsample": ([ops.UpSampling2D("y", ("x0",), (10, 18, 4), size=(2, 3))], {}),
        "depth_to_space": ([ops.DepthToSpace("y", ("x0",), (10, 12, 1), block=2)], {}),
        "concatenate": ([ops.Concatenate("y", ("x0", "x1", "x0"), (5, 6, 12), axis=2)], {}),
        "reshape": ([ops.Reshape("y", ("x0",), (30, 4))], {}),
        "gather": ([Gather("y", ("x0",), (5, 3, 4), axis=1, indices=(5, 0, 5))], {}),
        "copy": ([Transpose("y", ("x0",), (4, 5, 6), permutation=(2, 0, 1))], {}),
        "matrix_product": (
            [
                Transpose("turned", ("x1",), (5, 4, 6), permutation=(0, 2, 1)),
                MatMul("y", ("x0", "turned"), (5, 6, 6)),
            ],
            {},
        ),
        "softmax": ([Softmax("y", ("x0",), image)], {}),
        "layer_norm": (
            [
                normalization.LayerNormalization(
                    "y", ("x0",), image, gamma=floats(4), beta=floats(4), epsilon=0.1
                )
            ],
            {},
        ),
        "embedding": (
            [embedding.Embedding("y", ("x0",), (5, 6, 3), table=floats(7, 3))],
            {},
        ),
        "normalize": (
            [
                normalization.GroupNormalization(
                    "y", ("x0",), image, gamma=floats(4), beta=floats(4), epsilon=0.1, groups=2
                )
            ],
            {},
        ),
    }
    found = {}
    for kind, (layers, constants) in nodes.items():
        names = {f"x{i}" for node in layers for i in range(2) if f"x{i}" in node.inputs}
        params = dict.fromkeys(names | {node.name for node in layers}, half)
        shape = (5, 6, 2) if kind == "embedding" else image  # two bytes for each number
        model = quantized(*layers, shapes=[shape] * len(names), params=params, weights=constants)
        found[kind] = plan_of(model)
    return found
