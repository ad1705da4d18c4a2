"""Every operator stands in every table, or it is said here why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from graph_operators import ENDS, READ, REWRITTEN, operators

import tinsmith_export.targets.native.build  # noqa: F401 (it fills the table)
from tinsmith_export.errors import ConversionError
from tinsmith_export.ir import ops
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import compute
from tinsmith_export.ir.interpret.operands import Operands
from tinsmith_export.ir.ops import Node
from tinsmith_export.ir.quantization import QuantGraph, QuantParams
from tinsmith_export.ir.shapes import output_shape, require_shapes
from tinsmith_export.passes.rewrite import FUNCTIONS
from tinsmith_export.quantize.rules import range_rule
from tinsmith_export.reference.rebuild import keras_layer
from tinsmith_export.targets.native.builder import Builder, add
from tinsmith_export.targets.onnx.operators import write
from tinsmith_export.targets.onnx.writer import FloatWriter
from tinsmith_export.targets.tflite.estimate import FORMS, FUNCTION_FORMS

NOTHING = Operands((), (), QuantParams(1.0, 0), None)
# Table to the operators that it lacks, each with the reason.
TABLES: dict[str, tuple[Any, dict[str, str]]] = {
    "shapes": (output_shape, READ),
    # A dense layer has the rule of all products.
    "ranges": (range_rule, READ | {k: why for k, why in REWRITTEN.items() if k != "Dense"}),
    "interpret": (compute, ENDS | READ | REWRITTEN),
    "reference": (keras_layer, ENDS | READ),
    "onnx": (write, ENDS | READ | REWRITTEN),
    "native": (add, ENDS | READ | REWRITTEN),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_operator_is_in_the_table(table: str) -> None:
    function, lacking = TABLES[table]
    default: Callable[..., Any] = function.dispatch(object)
    holes = {kind.__name__ for kind in operators() if function.dispatch(kind) is default}
    assert holes == lacking.keys()


def test_every_operator_has_a_form_in_tflite() -> None:
    """What the converter makes of a function depends on the function."""
    holes = {kind.__name__ for kind in operators() if kind not in FORMS}
    assert holes == (ENDS | READ | REWRITTEN).keys() | {"Function"}
    assert FUNCTION_FORMS.keys() == set(FUNCTIONS)


@pytest.mark.parametrize(
    "function",
    [
        *(keras_layer, range_rule, lambda node: compute(node, NOTHING)),
        *(
            lambda node: write(node, FloatWriter(Graph((node,)))),
            lambda node: output_shape(node, ()),
            lambda node: add(node, Builder(QuantGraph(Graph((node,)), {}, {}), {})),
        ),
    ],
)
def test_a_hole_is_an_error_that_names_the_operator(function: Callable[[Node], Any]) -> None:
    with pytest.raises(TypeError, match="Node has no "):
        function(ops.Node("x", (), (1,)))


def test_traits() -> None:
    """Codes that are not computed are moved; whatever moves them makes no new ones."""
    for kind in operators():
        assert not (kind.requantizes and kind.moves_codes), kind
        assert kind.moves_codes or not kind.monotone, kind


def test_a_wrong_shape_is_refused() -> None:
    source = ops.InputLayer("x", (), (4, 4, 2))
    padded = ops.ZeroPadding2D("pad", ("x",), (6, 5, 2), padding=((1, 1), (0, 1)))
    require_shapes(Graph((source, padded)))
    wrong = ops.ZeroPadding2D("pad", ("x",), (5, 6, 2), padding=((1, 1), (0, 1)))
    with pytest.raises(ConversionError, match=r"`pad` .* says .*\(5, 6, 2\), but computes \(6, 5"):
        require_shapes(Graph((source, wrong)))
