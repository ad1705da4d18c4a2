"""Small quantized graphs, their plans, and what libtinsmith makes of them; no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import Operands, compute, interpret
from tinsmith_export.ir.ops import Function, InputLayer, Node, OutputLayer
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
