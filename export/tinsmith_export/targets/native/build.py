"""From the quantized graph to a plan."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

# These two fill the table of operators.
import tinsmith_export.targets.native.moving
import tinsmith_export.targets.native.operators  # noqa: F401
from tinsmith_export.errors import TargetError
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.native.arena import planned
from tinsmith_export.targets.native.builder import Builder, add
from tinsmith_export.targets.native.plan import Kind, Plan, PlanEnd, PlanOperator


def build_plan(
    model: QuantGraph,
    tables: Mapping[str, NDArray[np.int8]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Plan:
    """Makes the plan of a model.

    Args:
        model: a quantized graph.
        tables: for each `Function`, the codes that it gives for -128 to 127, `int8 (256,)`.
        inputs: what the inputs are called, in the graph's order.
        outputs: what the outputs are called, likewise.

    Raises:
        TargetError: sums may be larger than a plan takes, or a tensor has too many dimensions, or
            is not rounded, or the model is too large.
    """
    if model.unrounded:
        names = ", ".join(sorted(model.unrounded))
        raise TargetError(
            f"a plan holds codes alone; these are not rounded: {names}; "
            "they are where --targets names native"
        )
    builder, graph = Builder(model, tables), model.graph
    sources = [PlanEnd(builder.tensor(n), x) for n, x in zip(graph.inputs, inputs, strict=True)]
    for node in graph.layers:
        add(node, builder)
    targets = [
        PlanEnd(builder.tensor(graph.node(node.inputs[0])), name)
        for node, name in zip(graph.outputs, outputs, strict=True)
    ]
    tensors, operators = tuple(builder.tensors), tuple(builder.operators)
    plan = planned(Plan(tensors, operators, tuple(sources), tuple(targets), 0))
    _require_limits(plan)
    return plan


def _require_limits(plan: Plan) -> None:
    """Checks what libtinsmith refuses as too much; `docs/reference/plan.md` has the limits."""
    for what, found, most in (
        ("tensors", len(plan.tensors), 2**13),
        ("operators", len(plan.operators), 2**13),
        ("inputs", len(plan.inputs), 32),
        ("outputs", len(plan.outputs), 32),
        ("bytes of memory", plan.arena_bytes, 2**30),
        ("steps a sample", sum(_steps(plan, one) for one in plan.operators), 2**34),
    ):
        if found > most:
            raise TargetError(f"a plan has {most:,} {what} at most, this model has {found:,}")


def _steps(plan: Plan, operator: PlanOperator) -> int:
    """How many multiplications a sample takes, or comparisons."""
    size = prod(plan.tensors[operator.output].shape)
    if operator.kind == Kind.MATRIX_PRODUCT:
        return size * plan.tensors[operator.inputs[0]].shape[-1]
    if operator.kind in (Kind.PRODUCT, Kind.FLOAT_PRODUCT):
        channels = plan.tensors[operator.inputs[0]].shape[-1] // operator.words[8]
        return size * channels * prod(operator.words[:2])
    return size * prod(operator.words[:2]) if operator.kind == Kind.MAX_POOL else size
