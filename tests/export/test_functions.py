"""Functions of one number: tables of 256 codes here, float between two roundings in the engines."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tf_keras
from compiling import Compiled, compiled, settle
from interpreted import require_interpreted

from tinsmith_export.ir.interpret import Operands, compute
from tinsmith_export.ir.interpret.tensors import FLOAT_FUNCTIONS
from tinsmith_export.ir.ops import Function, Maximum, Multiply
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.tflite.functions import function_tables

L, ops = keras.layers, keras.ops
CODES = np.arange(-128, 128).astype(np.int8)[None]


def model(build: Any) -> keras.Model:
    """A convolution of an image, what is built of it, and a dense layer."""
    source = keras.Input((8, 8, 3))
    x = build(L.Conv2D(4, 3, padding="same", name="stem")(source))
    return settle(keras.Model(source, L.Dense(5, name="answer")(L.Flatten()(x))))


def positive(x: Any) -> Any:
    return L.ReLU()(x) + 0.5


FORMS: dict[str, Any] = {
    "selu": L.Activation("selu"),
    "softsign": L.Activation("softsign"),
    "exp": L.Activation("exponential"),
    "log": lambda x: ops.log(positive(x)),
    "sqrt": lambda x: ops.sqrt(positive(x)),
    "rsqrt": lambda x: ops.rsqrt(positive(x)),
    "reciprocal": lambda x: x / positive(L.Conv2D(4, 1, name="below")(x)),
}


@pytest.mark.parametrize("name", FORMS)
def test_engines_are_within_one_code(name: str) -> None:
    made = compiled(model(FORMS[name]), count=60)
    (node,) = (node for node in made.quantized.graph.layers if isinstance(node, Function))
    assert node.function == name
    assert made.parity.max_difference_lsb <= 1
    require_interpreted(made)
    require_table(made, node)


def require_table(made: Compiled, node: Function) -> None:
    """Asserts that LiteRT gives the interpreter's code, or the next one, for every code."""
    model, data = quant_graph(made.integers), made.files["model.int8.tflite"]
    table = function_tables(data, model.graph, model.params)[node.name].astype(np.int16)
    operands = Operands((CODES,), (model.params[node.inputs[0]],), model.params[node.name], None)
    assert np.abs(table - compute(node, operands)[0]).max() <= 1


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras 3", "tf_keras"])
@pytest.mark.parametrize(
    ("layer", "setting", "function"),
    [("ReLU", {"threshold": 0.2}, "thresholded"), ("ELU", {"alpha": 0.5}, "elu")],
)
def test_a_parameter(library: Any, layer: str, setting: dict[str, float], function: str) -> None:
    layers = library.layers
    source = library.Input((8, 8, 3))
    x = getattr(layers, layer)(**setting)(layers.Conv2D(4, 3)(source))
    made = compiled(settle(library.Model(source, layers.Dense(5)(layers.Flatten()(x)))), count=60)
    (node,) = (node for node in made.quantized.graph.layers if isinstance(node, Function))
    assert node.function == function
    assert node.parameter == pytest.approx(next(iter(setting.values())))
    assert made.parity.max_difference_lsb <= 1
    require_interpreted(made)


@pytest.mark.parametrize(
    ("build", "kind"), [(ops.abs, Maximum), (ops.square, Multiply)], ids=["abs", "square"]
)
def test_integers_alone(build: Any, kind: type) -> None:
    made = compiled(model(build), count=60)
    assert any(isinstance(node, kind) for node in made.quantized.graph.layers)
    assert made.parity.max_difference_lsb == 0
    require_interpreted(made)


@pytest.mark.parametrize("function", FLOAT_FUNCTIONS)
def test_every_code_has_a_number(function: str) -> None:
    """Behind 0 too, where log and roots have none."""
    node = Function("y", ("x",), (256,), function=function)
    operands = Operands((CODES,), (QuantParams(0.5, 3),), QuantParams(0.25, -7), None)
    found = compute(node, operands)
    assert found.dtype == np.int8
    if function != "reciprocal":
        steps = np.diff(found[0].astype(np.int16)) * (-1 if function == "rsqrt" else 1)
        assert (steps >= 0).all()
