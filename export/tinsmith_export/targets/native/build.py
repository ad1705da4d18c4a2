"""From the quantized graph to a plan."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.native.arena import planned
from tinsmith_export.targets.native.operators import Builder, add
from tinsmith_export.targets.native.plan import Plan, PlanEnd


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
        ConversionError: sums may be larger than a plan takes, or a tensor has too many dimensions,
            or is not rounded.
    """
    if model.unrounded:
        names = ", ".join(sorted(model.unrounded))
        raise ConversionError(f"a plan holds codes alone; these are not rounded: {names}")
    builder, graph = Builder(model, tables), model.graph
    sources = [PlanEnd(builder.tensor(n), x) for n, x in zip(graph.inputs, inputs, strict=True)]
    for node in graph.layers:
        add(node, builder)
    targets = [
        PlanEnd(builder.tensor(graph.node(node.inputs[0])), name)
        for node, name in zip(graph.outputs, outputs, strict=True)
    ]
    tensors, operators = tuple(builder.tensors), tuple(builder.operators)
    return planned(Plan(tensors, operators, tuple(sources), tuple(targets), 0))
