"""What the ONNX files look like, and that they compute what TFLite does."""

import re
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from compiling import Compiled, random_inputs
from narrow import array

from tinsmith_export.competitors.baselines import to_onnx_naively
from tinsmith_export.errors import ConversionError
from tinsmith_export.frontend.predict import run
from tinsmith_export.metrics import parity
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_export.targets.onnx.kernels import require_integer_kernels
from tinsmith_export.verify.engines import run_batches
from tinsmith_runtime.backends import create_backend

LAYERS = ("conv1", "depth", "conv2", "hidden", "answer")
FILES = ("model.int8.onnx", "model.float.onnx")


@pytest.mark.parametrize("file", FILES)
def test_names_are_readable_and_unique(converted: Compiled, file: str) -> None:
    graph = onnx.load_from_string(converted.files[file]).graph
    made = [graph.input[0].name, *(tensor.name for tensor in graph.initializer)]
    made += [name for node in graph.node for name in node.output]
    assert len(made) == len(set(made))
    own = ("image", "logits", *(node.name for node in converted.quantized.graph.nodes))
    pattern = re.compile(rf"({'|'.join(map(re.escape, own))})(\.[a-z0-9_]+)*")
    assert [name for name in made if not pattern.fullmatch(name)] == []
    assert {f"{layer}.weight" for layer in LAYERS} <= set(made)
    assert {"hidden.bias", "logits"} <= set(made)
    # TensorFlow's converter gives every convolution a bias, if need be of zeros.
    assert ("answer.bias" in made) == (file == "model.int8.onnx")
    assert len({node.name for node in graph.node}) == len(graph.node)


@pytest.mark.parametrize(("file", "dtype"), [(FILES[0], "UINT8"), (FILES[1], "FLOAT")])
def test_form(converted: Compiled, file: str, dtype: str) -> None:
    model = onnx.load_from_string(converted.files[file])
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (
        8,
        [("", 17)],
    )
    for value, name, sizes in (
        (model.graph.input[0], "image", (12, 12, 2)),
        (model.graph.output[0], "logits", (5,)),
    ):
        tensor = value.type.tensor_type
        assert (value.name, onnx.TensorProto.DataType.Name(tensor.elem_type)) == (name, dtype)
        assert tensor.shape.dim[0].dim_param == "batch"
        assert tuple(dim.dim_value for dim in tensor.shape.dim[1:]) == sizes


def test_no_relu_is_left_that_the_range_of_the_codes_is(converted: Compiled) -> None:
    graph = onnx.load_from_string(converted.files["model.int8.onnx"]).graph
    assert not {"Relu", "Clip"} & {node.op_type for node in graph.node}


def test_every_product_is_an_integer_kernel(converted: Compiled) -> None:
    assert converted.kernels["onnx"] == {"QLinearConv": 3, "QGemm": 2}
    assert sum(converted.kernels["tflite"].values()) == len(LAYERS)
    with pytest.raises(ConversionError, match="expected 6 integer products"):
        require_integer_kernels(converted.files["model.int8.onnx"], len(LAYERS) + 1)


def test_the_naive_conversion_is_refused(converted: Compiled) -> None:
    naive = to_onnx_naively(converted.files["model.int8.tflite"])
    assert (
        onnx.load_from_string(naive).graph.input[0].type.tensor_type.elem_type
        == onnx.TensorProto.INT8
    )
    with pytest.raises(ConversionError, match=r"float: .*Conv .*conv1"):
        require_integer_kernels(naive, len(LAYERS))


def test_onnx_equals_tflite(converted: Compiled) -> None:
    codes = converted.entry.codes(random_inputs((12, 12, 2), 2000, seed=8))
    outputs = [
        array(run_batches(create_backend(engine, converted.files[f"model.int8.{form}"], 1), codes))
        for engine, form in (("litert", "tflite"), ("onnx", "onnx"))
    ]
    found = parity(outputs[0], outputs[1], classes=True)
    # One requantizes in fixed point and the other in float: a tie may fall either way.
    assert found.max_difference_lsb <= 1
    assert found.equal / found.compared >= 0.999


def test_the_kernels_compute_what_the_file_says(converted: Compiled) -> None:
    """ONNX Runtime's integer kernels against every operator as it is written, one by one."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = converted.files["model.int8.onnx"]
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    plain = session.run(None, {"image": converted.inputs})[0].astype(np.int16) - 128
    fused = run_batches(create_backend("onnx", data, 1), converted.codes)
    difference = np.abs(plain - fused)
    # In float32 a sum on the edge between two codes may fall either way.
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


@pytest.mark.parametrize(("engine", "form"), [("litert", "tflite"), ("onnx", "onnx")])
def test_the_float_files_compute_the_float_model(
    converted: Compiled, engine: str, form: str
) -> None:
    reals = converted.entry.reals(converted.inputs)
    backend: Any = create_backend(engine, converted.files[f"model.float.{form}"], 1)
    expected = run(rebuild(converted.graph), reals)
    # float32, added in another order.
    np.testing.assert_allclose(run_batches(backend, reals), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("engine", "form"), [("litert", "tflite"), ("onnx", "onnx")])
def test_the_batch_size_changes_nothing(converted: Compiled, engine: str, form: str) -> None:
    backend = create_backend(engine, converted.files[f"model.int8.{form}"], 1)
    codes = converted.codes[:7]
    alone = np.concatenate([backend.run(codes[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(backend.run(codes), alone)
