"""Every layer of `layer_cases`: compiled for real or refused by name; the table in the docs.

The rewritten model is compared with Keras's for each case and each Keras. What the rewriting
makes the same of, layer for layer, is converted to int8 once: the weights are random in any case.
There LiteRT's codes are compared with the interpreter's in every layer.
"""

import functools
import os
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import Compiled, compiled, require_same_outputs, rewritten, settle
from interpreted import require_interpreted
from layer_cases import BOTH, CASES, Case
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.targets.onnx.session import optimized_model

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "layers.md"
BEGIN, END = "<!-- layers: begin -->\n", "<!-- layers: end -->\n"
UPDATE = "TINSMITH_WRITE_DOCS=1 pytest tests/export/test_layers.py"
# The convolution before a case and the dense layer behind it.
_AROUND = Counter(["Conv2D", "Conv2D"])
_made: dict[object, Compiled] = {}


def _form(graph: Graph) -> object:
    """All of a graph but its names and weights."""
    places = {node.name: place for place, node in enumerate(graph.nodes)}
    return tuple(
        (
            node.kind,
            tuple(places[name] for name in node.inputs),
            node.shape,
            *(
                value.shape if isinstance(value, np.ndarray) else value
                for field in fields(node)[3:]
                if field.name != "shared"
                for value in (getattr(node, field.name),)
            ),
        )
        for node in graph.nodes
    )


@functools.cache
def travel(case: Case, version: str) -> str:
    """Compiles a case and says how it travels; raises what is wrong."""
    model = settle(case.model(version))
    graph = rewritten(model)
    inputs = case.inputs()
    if not case.ids:
        require_same_outputs(graph, model, inputs)
    form = _form(graph)
    if form not in _made:
        _made[form] = compiled(model, count=64, inputs=inputs if case.ids else None)
        require_interpreted(_made[form])
    made = _made[form]
    assert made.parity.max_difference_lsb <= 1
    kinds = Counter(node.kind for node in graph.layers) - _AROUND
    del kinds["Reshape"]
    if not kinds:
        return "folded into its neighbours, or nothing"
    parts = ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in kinds.items())
    floats = {
        "LiteRT": _tflite_in_float(made.files["model.int8.tflite"]),
        "ONNX Runtime": _onnx_in_float(made.files["model.int8.onnx"]),
    }
    where = " and ".join(engine for engine, found in floats.items() if found)
    return f"{parts}: " + (f"float between two roundings in {where}" if where else "integer")


def _tflite_in_float(data: bytes) -> bool:
    """Whether an operator gives float32, but for the one that dequantizes."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return any(
        graph.tensors[operator.outputs[0]].type == schema.TensorType.FLOAT32
        for operator in graph.operators
        if codes[operator.opcodeIndex] != schema.BuiltinOperator.DEQUANTIZE
    )


def _onnx_in_float(data: bytes) -> bool:
    """Whether ONNX Runtime's own graph uses what DequantizeLinear gives."""
    graph = onnx.load_from_string(optimized_model(data)).graph
    reals = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    return any(reals.intersection(node.input) for node in graph.node)


PAIRS = [(case, version) for case in CASES for version in case.kerases]


@pytest.mark.parametrize(("case", "version"), PAIRS, ids=[f"{c.layer}-{v}" for c, v in PAIRS])
def test_a_layer_compiles_or_is_refused_by_name(case: Case, version: str) -> None:
    if case.refused is None:
        travel(case, version)
        return
    with pytest.raises(UnsupportedLayerError, match=re.escape(case.refused)) as caught:
        travel(case, version)
    assert all(reason.startswith("layer `") for reason in caught.value.reasons)


def _table() -> str:
    lines = ["| layer | Keras 3 | tf_keras | becomes |", "|---|---|---|---|"]
    for case in CASES:
        found = {}
        for version in case.kerases:
            try:
                found[version] = travel(case, version)
            except UnsupportedLayerError:
                found[version] = "refused"
        said = ["-" if v not in found else "no" if found[v] == "refused" else "yes" for v in BOTH]
        becomes = next((text for text in found.values() if text != "refused"), "refused by name")
        lines.append(f"| {case.layer} | {' | '.join(said)} | {becomes} |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_docs_is_this_one() -> None:
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    true = before + BEGIN + _table() + END + after
    if os.environ.get("TINSMITH_WRITE_DOCS"):
        DOCS.write_text(true)
    assert true == text or os.environ.get("TINSMITH_WRITE_DOCS"), f"run {UPDATE} to update"
