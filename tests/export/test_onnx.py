"""What the clean ONNX looks like, and that it computes what TFLite does."""

import copy
import re
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest

from tinsmith_export import onnx_clean
from tinsmith_export.errors import ConversionError
from tinsmith_export.onnx import convert_naively
from tinsmith_export.onnx_clean import merge_gemms, use_uint8_activations
from tinsmith_export.onnx_graph import OnnxGraph
from tinsmith_export.proof import measure_parity, require_integer_kernels, run_batches, to_codes
from tinsmith_runtime.backends import create_backend

LAYERS = ("conv1", "depth", "conv2", "hidden", "answer")


@pytest.fixture(scope="module")
def naive(converted) -> onnx.ModelProto:
    return convert_naively(converted.tflite)


def test_names_are_readable_and_unique(converted) -> None:
    graph = onnx.load_from_string(converted.onnx).graph
    made = [graph.input[0].name, *(tensor.name for tensor in graph.initializer)]
    made += [name for node in graph.node for name in node.output]
    assert len(made) == len(set(made))
    pattern = re.compile(rf"(image|logits|{'|'.join(LAYERS)})(\.[a-z0-9_]+)*(_[a-z_]+)?")
    assert [name for name in made if not pattern.fullmatch(name)] == []
    assert {f"{layer}.weight" for layer in LAYERS} <= set(made)
    assert {"hidden.bias", "logits"} <= set(made)
    assert "answer.bias" not in made
    assert len({node.name for node in graph.node}) == len(graph.node)


def test_form(converted) -> None:
    model = onnx.load_from_string(converted.onnx)
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (
        8,
        [("", 17)],
    )
    for value, name, sizes in (
        (model.graph.input[0], "image", (12, 12, 2)),
        (model.graph.output[0], "logits", (5,)),
    ):
        tensor = value.type.tensor_type
        assert (value.name, tensor.elem_type) == (name, onnx.TensorProto.UINT8)
        assert tensor.shape.dim[0].dim_param == "batch"
        assert tuple(dim.dim_value for dim in tensor.shape.dim[1:]) == sizes
    assert "Relu" not in {node.op_type for node in model.graph.node}


def test_every_product_is_an_integer_kernel(converted) -> None:
    kernels = require_integer_kernels(converted.onnx, len(LAYERS))
    assert sum(kernels.values()) == len(LAYERS)
    with pytest.raises(ConversionError, match="expected 6 integer products"):
        require_integer_kernels(converted.onnx, len(LAYERS) + 1)


def test_the_naive_conversion_is_refused(naive: onnx.ModelProto) -> None:
    assert naive.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT8
    with pytest.raises(ConversionError, match=r"float: .*Conv .*conv1"):
        require_integer_kernels(naive.SerializeToString(), len(LAYERS))


def test_onnx_equals_tflite(converted) -> None:
    pixels = np.random.default_rng(8).integers(0, 256, (2000, 12, 12, 2), np.uint8)
    outputs = [
        run_batches(create_backend(engine, data, 1), to_codes(pixels))
        for engine, data in (("litert", converted.tflite), ("onnx", converted.onnx))
    ]
    parity = measure_parity(*outputs)
    # One requantizes in fixed point and the other in float: a tie may fall either way.
    assert parity.max_difference_lsb <= 1
    assert parity.equal / parity.compared >= 0.999


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_the_batch_size_changes_nothing(converted, engine: str) -> None:
    data = converted.tflite if engine == "litert" else converted.onnx
    backend = create_backend(engine, data, 1)
    codes = (converted.pixels[:7] ^ 0x80).view(np.int8)
    alone = np.concatenate([backend.run(codes[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(backend.run(codes), alone)


def run_in_float(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    """Output codes 0 to 255, every operator as it is written: no kernel that could round anew."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    source = session.get_inputs()[0]
    if source.type == "tensor(int8)":
        pixels = (pixels ^ np.uint8(0x80)).view(np.int8)
    codes = session.run(None, {source.name: pixels})[0]
    return (codes.view(np.uint8) ^ np.uint8(0x80)) if codes.dtype == np.int8 else codes


STEPS: dict[str, Callable[[OnnxGraph], object]] = {
    "drop_clamped_relus": onnx_clean.drop_clamped_relus,
    "merge_gemms": merge_gemms,
    "use_uint8_activations": use_uint8_activations,
    "name_batch": onnx_clean.name_batch,
    "name_tensors": lambda graph: onnx_clean.name_tensors(graph, LAYERS),
}


def test_each_step_leaves_the_outputs_alone(naive: onnx.ModelProto, converted) -> None:
    pixels = converted.pixels[:100]
    expected = run_in_float(naive, pixels)
    model, changed = copy.deepcopy(naive), []
    for name, step in STEPS.items():
        before = model.SerializeToString(deterministic=True)
        graph = OnnxGraph(model)
        step(graph)
        model = graph.save()
        np.testing.assert_array_equal(run_in_float(model, pixels), expected, err_msg=name)
        if model.SerializeToString(deterministic=True) != before:
            changed.append(name)
    assert {"merge_gemms", "use_uint8_activations", "name_batch", "name_tensors"} <= set(changed)


def small_graph(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> OnnxGraph:
    """`x`, `float32 (batch, 4)`, to `y`."""
    value = onnx.helper.make_tensor_value_info
    sides = [value(n, onnx.TensorProto.FLOAT, ["n", 4]) for n in ("x", "y")]
    tensors = [onnx.numpy_helper.from_array(data, name) for name, data in constants.items()]
    graph = onnx.helper.make_graph(nodes, "small", sides[:1], sides[1:], tensors)
    opset = onnx.helper.make_opsetid("", 17)
    return OnnxGraph(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8))


@pytest.mark.parametrize(("zero_point", "left"), [(-128, 0), (-127, 1)])
def test_only_a_relu_that_the_clamp_repeats_is_dropped(zero_point: int, left: int) -> None:
    node = onnx.helper.make_node
    graph = small_graph(
        [
            node("Relu", ["x"], ["r"]),
            node("QuantizeLinear", ["r", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        s=np.float32(0.1),
        z=np.int8(zero_point),
    )
    onnx_clean.drop_clamped_relus(graph)
    assert len(graph.of_kind("Relu")) == left
    model = graph.save()
    x = np.linspace(-3, 3, 40, dtype=np.float32).reshape(10, 4)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert session.run(None, {"x": x})[0].min() == 0


def test_matmul_and_its_bias_become_one_gemm() -> None:
    node, rng = onnx.helper.make_node, np.random.default_rng(4)
    x, w, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)
    graph = small_graph(
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["b", "m"], ["y"])],
        w=w.astype(np.float32),
        b=b.astype(np.float32),
    )
    merge_gemms(graph)
    assert [n.op_type for n in graph.nodes] == ["Gemm"]
    session = onnxruntime.InferenceSession(
        graph.save().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": x.astype(np.float32)})[0]
    np.testing.assert_allclose(found, x @ w + b, rtol=1e-5, atol=1e-5)  # float32


def test_a_matmul_that_is_added_to_an_activation_stays() -> None:
    node = onnx.helper.make_node
    graph = small_graph(
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["x", "m"], ["y"])],
        w=np.eye(4, dtype=np.float32),
    )
    merge_gemms(graph)
    assert [n.op_type for n in graph.nodes] == ["MatMul", "Add"]
