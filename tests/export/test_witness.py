"""tf2onnx as a witness: for every layer of `layer_cases`, and at an export."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tf_keras
from compiling import rewritten, settle
from layer_cases import CASES, SHAPE, Case
from onnx import numpy_helper

from tinsmith_export import Options, Samples, compile_model
from tinsmith_export.errors import ConversionError, GateError
from tinsmith_export.frontend.load import load_keras
from tinsmith_export.ir.ops import OutputLayer
from tinsmith_export.record import as_json
from tinsmith_export.report import html
from tinsmith_export.summary import summary
from tinsmith_export.targets.onnx.model import to_onnx
from tinsmith_export.targets.onnx.target import OnnxTarget
from tinsmith_export.targets.target import ModelFile
from tinsmith_export.verify import witness
from tinsmith_export.verify.gates import witness_failures
from tinsmith_export.verify.witness import LIMIT, compare_with_witness
from tinsmith_runtime.batch import Arrays

RNG = np.random.default_rng(3)
IMAGES = RNG.uniform(size=(8, *SHAPE)).astype(np.float32)
# What tf2onnx 1.17 and ONNX Runtime were measured to be apart at most is 2e-6.
CLOSE = 1e-5


def float_file(model: Any) -> tuple[ModelFile, tuple[OutputLayer, ...]]:
    """The float ONNX file of a model, and its outputs."""
    graph = rewritten(model)
    data = to_onnx(graph, [node.name for node in graph.inputs])
    return ModelFile(OnnxTarget(), "float", data), graph.outputs


def witnessed(model: Any, inputs: Arrays) -> float:
    """How far the float ONNX file of a model is from tf2onnx's."""
    file, outputs = float_file(model)
    found = compare_with_witness(model, [file], inputs, inputs, outputs)
    assert (found.count, found.limit) == (8, LIMIT)
    return found.differences["onnx"]


LAYERS = [case for case in CASES if case.refused is None and not case.ids]  # they take images


@pytest.mark.parametrize("case", LAYERS, ids=[case.layer for case in LAYERS])
def test_every_layer(case: Case) -> None:
    assert witnessed(settle(case.model(case.kerases[0])), IMAGES) <= CLOSE


def several() -> Any:
    """Two inputs, three outputs: one with an activation, and one that is there twice."""
    layers = keras.layers
    image, state = keras.Input(SHAPE, name="image"), keras.Input((4,), name="state")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    x = layers.Dense(8, activation="relu")(layers.Concatenate()([x, state]))
    values = layers.Dense(2, name="values")(x)
    return settle(
        keras.Model([state, image], [values, layers.Dense(3, "softmax", name="class")(x), values])
    )


def test_several_inputs_and_outputs() -> None:
    states = RNG.normal(size=(8, 4)).astype(np.float32)
    assert witnessed(several(), (states, IMAGES)) <= CLOSE


def small(library: Any) -> Any:
    layers = library.layers
    image = library.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    return settle(library.Model(image, layers.Dense(3, "softmax")(layers.Flatten()(x))))


def test_a_saved_model(tmp_path: Path) -> None:
    model = small(tf_keras)
    model.save(tmp_path / "saved")
    assert witnessed(load_keras(tmp_path / "saved"), IMAGES) <= CLOSE


def test_a_wrong_weight_is_found() -> None:
    model = small(keras)
    file, outputs = float_file(model)
    proto = onnx.load_from_string(file.data)
    (kernel,) = (one for one in proto.graph.initializer if one.name == "conv.weight")
    weights = numpy_helper.to_array(kernel).copy()
    weights[0] *= 1.05
    kernel.CopyFrom(numpy_helper.from_array(weights, kernel.name))
    wrong = ModelFile(OnnxTarget(), "float", proto.SerializeToString())
    found = compare_with_witness(model, [wrong], IMAGES, IMAGES, outputs)
    (failure,) = witness_failures(found, {"onnx": "ONNX"})
    assert re.match(r"the float ONNX file differs by .* more than 0\.0005", failure)


def test_an_output_that_is_no_number_is_found() -> None:
    """In any output: Python's `max` of a number and a NaN is the first of the two."""
    states = RNG.normal(size=(8, 4)).astype(np.float32)
    model = several()
    file, outputs = float_file(model)
    proto = onnx.load_from_string(file.data)
    (bias,) = (one for one in proto.graph.initializer if one.name == "class.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(3, np.nan, np.float32), bias.name))
    wrong = ModelFile(OnnxTarget(), "float", proto.SerializeToString())
    found = compare_with_witness(model, [wrong], (states, IMAGES), (states, IMAGES), outputs)
    (failure,) = witness_failures(found, {"onnx": "ONNX"})
    assert "differs by nan" in failure


def test_what_tf2onnx_cannot_convert_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import tf2onnx

    def fail(*_: Any, **__: Any) -> Mapping[str, Any]:
        raise ValueError("no such operator\nand more")

    model = small(keras)
    file, outputs = float_file(model)
    monkeypatch.setattr(tf2onnx.convert, "from_graph_def", fail)
    with pytest.raises(ConversionError, match=r"made no file that runs: no such operator$"):
        compare_with_witness(model, [file], IMAGES, IMAGES, outputs)


SAMPLES = Samples("random", "0" * 64, IMAGES.repeat(4, axis=0), None, IMAGES, None, ())
OPTIONS = Options(
    recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0, verify_onnx=True, layer_errors=True
)


def test_an_export_tells(tmp_path: Path) -> None:
    exported = compile_model(small(keras), SAMPLES, tmp_path / "small.tin", OPTIONS)
    assert exported.witness is not None
    assert exported.witness.differences.keys() == {"tflite", "onnx"}
    assert max(exported.witness.differences.values()) <= CLOSE
    (line,) = (one for one in summary(exported) if one.startswith("witness"))
    assert "float outputs of 8 inputs differ from tf2onnx's: TFLite by " in line
    assert len(line) <= 100
    assert line.removeprefix("witness").strip() in unescape(html(exported))


def test_an_export_that_differs_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "LIMIT", -1.0)
    with pytest.raises(GateError, match="tf2onnx made of the model") as caught:
        compile_model(small(keras), SAMPLES, tmp_path / "small.tin", OPTIONS)
    assert not any(tmp_path.iterdir())
    exported = caught.value.exported
    assert exported.witness is not None
    assert exported.manifest.quality.parity  # it went on, and measured the rest
    wrong = replace(exported.witness, differences={"tflite": math.nan, "onnx": 0.5})
    told = json.loads(as_json(replace(exported, witness=wrong)), parse_constant=pytest.fail)
    assert told["witness"]["differences"] == {"tflite": None, "onnx": 0.5}
