"""The routes that a Keras user would go without tinsmith."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tf_keras
from narrow import array
from numpy.typing import NDArray

from tinsmith_bench.competitors import as_floats
from tinsmith_export import Options
from tinsmith_export.competitors.baselines import (
    CompetitorModel,
    naive,
    ort_ptq,
    tflite_dynamic,
    tflite_ptq,
    train_naively,
)
from tinsmith_export.competitors.baselines import keras as keras_itself
from tinsmith_export.competitors.tf_keras_copy import copy_to_tf_keras
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.load import load_keras
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.trace import trace
from tinsmith_export.inputs.entry import enter_unseen
from tinsmith_export.targets.onnx.session import optimized_model
from tinsmith_runtime.backends import create_backend, signed
from tinsmith_runtime.errors import UsageError

ENGINES = {"tflite": "litert", "onnx": "onnx"}
GRID = float(np.float32(1 / 255)), -128


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A residual network with what TFMOT takes; its weights and averages are not those of birth."""
    keras.utils.set_random_seed(0)
    source = keras.Input((8, 8, 1))
    tensor = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="a")(source)
    tensor = keras.layers.BatchNormalization()(tensor)
    tensor = keras.layers.ReLU()(tensor)
    other = keras.layers.DepthwiseConv2D(3, padding="same", name="b")(tensor)
    tensor = keras.layers.Add()([tensor, other])
    tensor = keras.layers.Dropout(0.2)(tensor)
    tensor = keras.layers.MaxPooling2D()(keras.layers.Activation("relu")(tensor))
    logits = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(tensor))
    model = keras.Model(source, logits)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def test_a_model_that_was_built_piece_by_piece_is_copied(tmp_path: Path) -> None:
    """Keras builds a stored Sequential layer by layer: its first layer was called twice."""
    layers = [keras.layers.Dense(3), keras.layers.ReLU(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    inputs = np.random.default_rng(0).random((5, 4), np.float32)
    found = copy_to_tf_keras(read).predict(inputs, verbose=0)
    np.testing.assert_allclose(found, model.predict(inputs, verbose=0), atol=1e-6)


@pytest.fixture(scope="module")
def path(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def inputs() -> NDArray[np.float32]:
    """Pixels as floats, among them 0 and 255."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 8, 8, 1))
    return pixels.astype(np.float32) / np.float32(255)


def _run(competitor: CompetitorModel, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a route's file makes of inputs, as the runtime's engine runs it."""
    backend = create_backend(ENGINES[competitor.form], competitor.data, 1)
    if competitor.codes is None:
        return array(backend.run(inputs))
    codes = np.round(inputs * 255 - 128).astype(np.int8)
    scale, zero_point = competitor.codes
    return (array(backend.run(codes)).astype(np.float32) - zero_point) * scale


def test_a_copy_in_tf_keras_computes_the_same(
    model: keras.Model, inputs: NDArray[np.float32]
) -> None:
    copied = copy_to_tf_keras(model)
    names = [layer.name for layer in copied.layers[1:]]
    assert names == [f"{layer.name}_copy" for layer in model.layers[1:]]
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(copied.predict(inputs, verbose=0), expected, atol=1e-5)
    assert copy_to_tf_keras(copied) is copied


def test_a_layer_that_tf_keras_has_not_is_named() -> None:
    source = keras.Input((4,))
    with pytest.raises(UnsupportedLayerError, match="is not one of tf_keras"):
        copy_to_tf_keras(keras.Model(source, keras.ops.sin(source)))
    dense = keras.layers.Dense(4, name="both")
    with pytest.raises(UnsupportedLayerError, match="called twice"):
        copy_to_tf_keras(keras.Model(source, dense(dense(source))))


def test_tensorflows_routes_keep_close_to_the_model(
    model: keras.Model, path: Path, inputs: NDArray[np.float32]
) -> None:
    expected = model.predict(inputs, verbose=0)
    dynamic = tflite_dynamic(model=path)
    assert (dynamic.precision, dynamic.codes) == ("int8 weights", None)
    np.testing.assert_allclose(_run(dynamic, inputs), expected, atol=0.05)
    static = tflite_ptq(model=path, inputs=inputs, grid=GRID)
    assert static.precision == "int8"
    # Its softmax gives codes of a probability; and it takes pixels, as the bundle does.
    assert static.codes == (1 / 256, -128)
    np.testing.assert_allclose(_run(static, inputs), expected, atol=0.1)
    other = tflite_ptq(model=path, inputs=inputs, grid=(0.5, 0))
    assert other.codes is None
    assert len(other.data) > len(static.data)


def test_the_naive_route_trains_and_gives_onnx(path: Path, inputs: NDArray[np.float32]) -> None:
    labels = np.arange(len(inputs)) % 3
    found = naive(model=path, inputs=inputs, labels=labels)
    assert (found.form, found.precision, found.codes) == ("onnx", "int8", None)
    outputs = _run(found, inputs)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=0.02)
    kinds = {node.op_type for node in onnx.load_from_string(found.data).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


@pytest.mark.parametrize("mode", ["caffe", "channels alone"])
def test_routes_take_the_pixels_that_a_bundle_takes(mode: str, tmp_path: Path) -> None:
    """With a mean for each channel, and BGR; the file of Keras's own may be HDF5."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Dense(3)])
    # TFMOT's ranges begin at -6 to 6.
    model.set_weights([w / (10 if mode == "caffe" else 1) for w in model.get_weights()])
    path = tmp_path / "model.h5"
    model.save(path)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    options = Options(preprocess="caffe") if mode == "caffe" else Options(channels="bgr")
    port = enter_unseen(read_graph(trace(model)), options.pixel_ranges)
    (entry,) = port.sources
    expected = model.predict(port.model_reals(images), verbose=0)
    taken = as_floats(images, entry.value_range)
    made = keras_itself(model=path, entry=entry)
    (tmp_path / "made.keras").write_bytes(made.data)
    found = load_keras(tmp_path / "made.keras").predict(taken, verbose=0)
    size = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * size)
    grid = entry.scale, entry.zero_point
    for route, atol in ((tflite_dynamic, 0.03), (tflite_ptq, 0.05), (naive, 0.2)):
        made = route(model=path, inputs=taken, labels=None, grid=grid, entry=entry)
        if made.codes is None:
            outputs = array(create_backend(ENGINES[made.form], made.data, 1).run(taken))
        else:
            codes = array(create_backend("litert", made.data, 1).run(signed(images)))
            outputs = (codes.astype(np.float32) - made.codes[1]) * made.codes[0]
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=atol * size)


def test_names_of_layers_that_tfmot_adds_are_free() -> None:
    # TFMOT makes two layers of a separable convolution; tf_keras would name the second `conv2d`,
    # as Keras 3 did the next one, and then build the model for ever.
    keras.utils.clear_session()
    tf_keras.backend.clear_session()
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.SeparableConv2D(2, 3), layers.Conv2D(2, 3)]
    )
    assert model.layers[1].name == "conv2d"
    trained = train_naively(model, np.zeros((4, 8, 8, 1), np.float32), None)
    assert len([layer for layer in trained.layers if "conv2d" in layer.name]) == 3


def test_onnx_runtimes_route_multiplies_integers(
    tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    rng = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(rng.normal(size=(64, 3)).astype(np.float32), "w")
    bias = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "b")
    shape = onnx.numpy_helper.from_array(np.array([-1, 64]), "shape")
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Reshape", ["x", "shape"], ["flat"]),
            onnx.helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
        ],
        "g",
        [info("x", onnx.TensorProto.FLOAT, ["n", 8, 8, 1])],
        [info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [weights, bias, shape],
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    found = ort_ptq(float_onnx=model.SerializeToString(), inputs=inputs)
    assert (found.form, found.activated) == ("onnx", False)
    assert b"QGemm" in optimized_model(found.data)
    expected = inputs.reshape(-1, 64) @ onnx.numpy_helper.to_array(weights)
    assert np.abs(_run(found, inputs) - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("route", [naive, ort_ptq, tflite_dynamic, tflite_ptq])
def test_what_is_missing_is_named(route: Callable[..., CompetitorModel], path: Path) -> None:
    nothing = {"model": None, "float_onnx": None, "inputs": None, "labels": None, "grid": GRID}
    with pytest.raises(UsageError, match=r"--model|--data|holds none"):
        route(**nothing)
    if route in (naive, tflite_ptq):
        with pytest.raises(UsageError, match="--data"):
            route(**{**nothing, "model": path})
