"""The larger and the smaller of two tensors: codes are compared, which mean the same in both."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import pytest
from compiling import compiled, settle
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.targets.onnx.session import optimized_model
from tinsmith_export.targets.registry import TARGETS

L = keras.layers


def model(build: Any) -> keras.Model:
    """Two convolutions of one image, what is built of both, and a dense layer."""
    source = keras.Input((8, 8, 3))
    sides = [L.Conv2D(4, 3, padding="same", name=name)(source) for name in ("left", "right")]
    return settle(keras.Model(source, L.Dense(5, name="answer")(L.Flatten()(build(*sides)))))


FORMS = {
    "of two layers": lambda x, y: L.Maximum(name="larger")([x, y]),
    "of three": lambda x, y: L.Maximum(name="larger")([x, y, L.Conv2D(4, 1, name="third")(x)]),
    "one behind a ReLU": lambda x, y: L.Maximum(name="larger")([L.ReLU()(x), y]),
    "before a ReLU": lambda x, y: L.ReLU()(L.Maximum(name="larger")([x, y])),
    "behind a sigmoid": lambda x, y: L.Maximum(name="larger")([L.Activation("sigmoid")(x), y]),
    "in a sum": lambda x, y: L.Add()([L.Maximum(name="larger")([x, y]), y]),
    "broadcast": lambda x, y: L.Maximum(name="larger")([L.GlobalMaxPool2D(keepdims=True)(x), y]),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_larger_code_in_every_target(form: str) -> None:
    made = compiled(model(FORMS[form]), count=200)
    graph = made.quantized.graph
    for target in TARGETS:
        data = made.files[f"model.int8.{target.ending}"]
        found = target.layer_outputs(data, graph, made.codes)
        for node in graph.layers:
            if node.kind == "Maximum":
                left, right = (found[name] for name in node.inputs)
                np.testing.assert_array_equal(found[node.name], np.maximum(left, right))
    assert made.parity.max_difference_lsb <= 1
    assert made.parity.equal >= 0.999 * made.parity.compared


def test_the_smaller_code_in_every_target() -> None:
    made = compiled(model(lambda x, y: L.Minimum(name="smaller")([x, L.ReLU()(y)])), count=200)
    graph = made.quantized.graph
    for target in TARGETS:
        data = made.files[f"model.int8.{target.ending}"]
        found = target.layer_outputs(data, graph, made.codes)
        (node,) = (node for node in graph.layers if node.kind == "Minimum")
        left, right = (found[name] for name in node.inputs)
        np.testing.assert_array_equal(found[node.name], np.minimum(left, right))
    assert made.parity.max_difference_lsb == 0


def test_the_kernels_are_integer() -> None:
    made = compiled(model(FORMS["of two layers"]), count=60)
    lite = schema.ModelT.InitFromPackedBuf(made.files["model.int8.tflite"], 0)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in lite.operatorCodes]
    (larger,) = [
        operator
        for operator in lite.subgraphs[0].operators
        if codes[operator.opcodeIndex] == schema.BuiltinOperator.MAXIMUM
    ]
    tensors = [lite.subgraphs[0].tensors[i] for i in (*larger.inputs, *larger.outputs)]
    assert {tensor.type for tensor in tensors} == {schema.TensorType.INT8}
    graph = onnx.load_from_string(optimized_model(made.files["model.int8.onnx"])).graph
    (node,) = [node for node in graph.node if node.op_type == "Max"]
    made_by = {name: other.op_type for other in graph.node for name in other.output}
    assert {made_by[name] for name in node.input} == {"QLinearConv"}
