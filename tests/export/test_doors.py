"""Every kind of file that a model comes in gives the same graph; none gets to run its code."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from compiling import TOLERANCE, require_same_outputs, rewritten
from narrow import array
from tensorflow.core.protobuf import saved_model_pb2

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.load import load_keras, prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.predict import run
from tinsmith_export.frontend.trace import trace
from tinsmith_runtime.errors import TinsmithError, UsageError

SHAPE = (8, 8, 3)
INPUTS = np.random.default_rng(2).uniform(size=(9, *SHAPE)).astype(np.float32)

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    # TensorFlow's own, while it saves a SavedModel.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def residual(library: Any) -> Any:
    """The same small network in either Keras: a model in it, and a layer that is called twice."""
    layers = library.layers
    source = library.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="first")(source)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    inner = library.Sequential(
        [library.Input((8, 8, 4)), layers.Conv2D(4, 1, name="first")], name="inner"
    )
    twice = layers.DepthwiseConv2D(3, padding="same", name="twice")
    x = layers.ReLU(max_value=6)(layers.Add()([x, twice(twice(inner(x)))]))
    x = layers.Dropout(0.2)(layers.Flatten()(layers.MaxPooling2D(4)(x)))
    model = library.Model(source, layers.Dense(3, activation="softmax")(x))
    rng = np.random.default_rng(3)
    model.set_weights(
        [rng.uniform(-0.5 if w.ndim > 1 else 0.1, 0.6, w.shape) for w in model.get_weights()]
    )
    return model


Save = Callable[[Any, Path], object]
KERAS_FILE: Save = lambda model, path: model.save(path / "m.keras")  # noqa: E731
H5: Save = lambda model, path: model.save(path / "m.h5")  # noqa: E731
HDF5: Save = lambda model, path: model.save(path / "m.hdf5")  # noqa: E731
EXPORTED: Save = lambda model, path: model.export(path / "m", verbose=False)  # noqa: E731
FOLDER: Save = lambda model, path: model.save(path / "m", save_format="tf")  # noqa: E731
SAVED_MODEL: Save = lambda model, path: tf.saved_model.save(model, path / "m")  # noqa: E731


def opened(save: Save, model: Any, folder: Path) -> Any:
    save(model, folder)
    (path,) = folder.iterdir()
    return load_keras(path)


@pytest.mark.parametrize(
    ("library", "save"),
    [
        (keras, KERAS_FILE),
        (keras, H5),
        (keras, HDF5),
        (keras, EXPORTED),
        (keras, SAVED_MODEL),
        (tf_keras, KERAS_FILE),
        (tf_keras, H5),
        (tf_keras, HDF5),
        (tf_keras, FOLDER),
        (tf_keras, SAVED_MODEL),
    ],
)
def test_the_same_model_through_each_door(library: Any, save: Save, tmp_path: Path) -> None:
    model = residual(library)
    loaded = opened(save, model, tmp_path)
    expected = run(model, INPUTS)
    assert array(expected).std(0).min() > 1e-3
    np.testing.assert_allclose(run(loaded, INPUTS), expected, rtol=TOLERANCE, atol=TOLERANCE)
    require_same_outputs(rewritten(prepared(loaded, None, None)), model, INPUTS)


class Hostile(tf.Module):
    """Writes a file when it is asked for an answer."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
    def answer(self, x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("friendly"):
            tf.io.write_file(self.target, "written")
            return tf.nn.relu(x)


def test_a_saved_model_is_read_before_it_runs(tmp_path: Path) -> None:
    hostile = Hostile(tmp_path / "written")
    tf.saved_model.save(hostile, tmp_path / "m", signatures=hostile.answer)
    with pytest.raises(UnsupportedLayerError, match=r"`friendly`.*operator WriteFile"):
        load_keras(tmp_path / "m")
    assert not (tmp_path / "written").exists()


def edited(folder: Path, edit: Callable[[Any], None]) -> Path:
    """A SavedModel folder with something changed in it."""
    residual(tf_keras).save(folder / "m", save_format="tf")
    document = saved_model_pb2.SavedModel()
    document.ParseFromString((folder / "m" / "saved_model.pb").read_bytes())
    edit(document.meta_graphs[0])
    (folder / "m" / "saved_model.pb").write_bytes(document.SerializeToString())
    return folder / "m"


def test_a_saved_models_initializer_does_not_run(tmp_path: Path) -> None:
    def add_initializer(graph: Any) -> None:
        for name, value in (("name", str(tmp_path / "written")), ("text", "written")):
            node = graph.graph_def.node.add(name=name, op="Const")
            node.attr["dtype"].type = tf.string.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        graph.graph_def.node.add(name="evil", op="WriteFile", input=["name", "text"])
        start = graph.signature_def["__saved_model_init_op"]
        start.outputs["__saved_model_init_op"].name = "evil"

    model = load_keras(edited(tmp_path, add_initializer))
    assert array(run(model, INPUTS)).shape == (9, 3)
    assert trace(model).operators
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda graph: graph.signature_def.pop("serving_default"), r"model\.export\('FOLDER'\)"),
        (lambda graph: graph.object_graph_def.Clear(), "its weights cannot be read"),
    ],
)
def test_a_saved_model_that_lacks_something(
    edit: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TinsmithError, match=said):
        load_keras(edited(tmp_path, edit))


def test_a_damaged_saved_model(tmp_path: Path) -> None:
    folder = edited(tmp_path, lambda graph: None)
    (folder / "variables" / "variables.index").unlink()
    with pytest.raises(TinsmithError, match="its weights cannot be read"):
        load_keras(folder)
    file = folder / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TinsmithError, match="damaged"):
        load_keras(folder)
    file.unlink()
    missing = r"expected a SavedModel folder with saved_model\.pb in it: "
    with pytest.raises(UsageError, match=missing + "save it with"):
        load_keras(folder)
    (folder / "model.keras").touch()
    with pytest.raises(UsageError, match=missing + r"or name .*model\.keras$"):
        load_keras(folder)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_lambda_is_refused_by_name(library: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    layer = library.layers.Lambda(lambda x: x * 2, name="secret", output_shape=SHAPE)
    library.Sequential([library.Input(SHAPE), layer]).save(path)
    with pytest.raises(UnsupportedLayerError, match=r"`secret` \(Lambda\) carries code.*--custom"):
        load_keras(path)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_file_names_no_module_to_import(suffix: str, tmp_path: Path) -> None:
    path, hostile = tmp_path / f"model.{suffix}", tmp_path / f"hostile.{suffix}"
    residual(tf_keras).save(path)

    def edit(text: str) -> str:
        config = json.loads(text)
        config["config"]["layers"][1]["module"] = "antigravity"
        return json.dumps(config)

    if suffix == "h5":
        hostile = path
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = edit(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(hostile, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, edit(data.decode()) if name == "config.json" else data)
    with pytest.raises(UnsupportedLayerError, match=r"`first` \(antigravity\.Conv2D\)"):
        load_keras(hostile)


def custom(library: Any) -> type:
    class Scaled(library.layers.Layer):
        """A layer of one's own."""

        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(name="factor", shape=(shape[-1],), initializer="ones")

        def call(self, x: Any) -> Any:
            return x * self.factor

    Scaled.__module__ = "mine"
    return Scaled


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_class_of_ones_own(library: Any, suffix: str, tmp_path: Path) -> None:
    kind = custom(library)
    path = tmp_path / f"model.{suffix}"
    layers = [library.Input(SHAPE), kind(name="mine"), library.layers.Conv2D(2, 3)]
    model = library.Sequential(layers)
    model.set_weights([np.full(w.shape, 0.5) for w in model.get_weights()])
    model.save(path)
    with pytest.raises(
        UnsupportedLayerError, match=r"`mine` \(.*Scaled\).*--custom-objects m\w+:Sc"
    ):
        load_keras(path)
    loaded = load_keras(path, {"Scaled": kind})
    np.testing.assert_allclose(run(loaded, INPUTS), run(model, INPUTS), rtol=1e-6)
    assert [node.kind for node in read_graph(trace(loaded)).nodes][:2] == ["InputLayer", "Affine"]


def test_weights_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    residual(keras).save_weights(path)
    with pytest.raises(TinsmithError, match="weights alone"):
        load_keras(path)


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_model_that_was_not_built(library: Any) -> None:
    layers = [library.layers.Flatten(), library.layers.Dense(2, name="last")]
    with pytest.raises(TinsmithError, match="no input shape: say one with --input-shape H W C"):
        prepared(library.Sequential(layers), None, None)
    model = prepared(library.Sequential(layers), SHAPE, None)
    assert read_graph(trace(model)).inputs[0].shape == SHAPE


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_subclassed_model(library: Any) -> None:
    class Own(library.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.dense = library.layers.Dense(2, name="last")

        def call(self, x: Any, training: bool = False) -> Any:
            return self.dense(x)

    with pytest.raises(TinsmithError, match="own: the model has no input shape"):
        prepared(Own(), None, None)
    graph = read_graph(trace(prepared(Own(), (5,), None)))
    assert graph.inputs[0].shape == (5,)
    assert graph.outputs[0].shape == (2,)


@pytest.mark.parametrize("save", [None, EXPORTED])
def test_a_dynamic_size(save: Save | None, tmp_path: Path) -> None:
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    if save is not None:
        model = opened(save, model, tmp_path)
    with pytest.raises(TinsmithError, match="--input-shape 96 96 3"):
        trace(prepared(model, None, None))
    graph = read_graph(trace(prepared(model, SHAPE, None), SHAPE))
    assert graph.inputs[0].shape == SHAPE
    assert [node.shape for node in graph.nodes if node.kind == "Conv2D"] == [(6, 6, 4)]
    with pytest.raises(UsageError, match=r"not \(8, 8, 1\)"):
        trace(prepared(model, None, None), (8, 8, 1))


@pytest.mark.parametrize(
    ("library", "save"), [(keras, None), (tf_keras, None), (tf_keras, FOLDER), (keras, KERAS_FILE)]
)
def test_one_of_several_outputs(library: Any, save: Save | None, tmp_path: Path) -> None:
    source = library.Input((5,))
    hidden = library.layers.Dense(4, activation="relu")(source)
    outputs = [library.layers.Dense(n, name=name)(hidden) for n, name in ((2, "a"), (3, "b"))]
    model = library.Model(source, outputs)
    inputs = INPUTS[:, 0, 0, :1].repeat(5, 1)
    expected = model.predict(inputs, verbose=0)
    if save is not None:
        model = opened(save, model, tmp_path)
    both = prepared(model, None, None)
    for found, values in zip(run(both, inputs), expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)
    assert [node.title for node in read_graph(trace(both)).outputs] == ["a", "b"]
    with pytest.raises(UsageError, match="--output c: the model's outputs are a, b"):
        prepared(model, None, "c")
    for name, values in zip("ab", expected, strict=True):
        chosen = prepared(model, None, name)
        np.testing.assert_allclose(run(chosen, inputs), values, rtol=1e-5, atol=1e-6)
        assert read_graph(trace(chosen)).outputs[0].shape == values.shape[1:]


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_named_inputs_and_outputs(library: Any) -> None:
    source = library.Input((5,), name="x")
    first, second = (library.layers.Dense(n)(source) for n in (2, 3))
    inputs = INPUTS[:, 0, 0, :1].repeat(5, 1)
    one = prepared(library.Model({"x": source}, {"first": first}), None, None)
    both = prepared(library.Model({"x": source}, {"b": second, "a": first}), None, "b")
    listed = prepared(library.Model([source], [first]), None, None)
    for model, tensor in ((one, first), (both, second), (listed, first)):
        expected = run(library.Model(source, tensor), inputs)
        np.testing.assert_array_equal(run(model, inputs), expected)
        assert read_graph(trace(model)).outputs[0].shape == array(expected).shape[1:]


def test_a_recurrent_saved_model(tmp_path: Path) -> None:
    layers = [keras.layers.LSTM(3, name="memory"), keras.layers.Dense(2)]
    with pytest.raises(UnsupportedLayerError, match=r"layer `.*memory.*` cannot be comp.*\.keras"):
        opened(EXPORTED, keras.Sequential([keras.Input((4, 2)), *layers]), tmp_path)


def test_no_model_at_all() -> None:
    with pytest.raises(UsageError, match="expected a model of Keras 3 or tf_keras, got int"):
        prepared(3, None, None)
