"""What cannot be compiled is refused in one line that names the layer and says what to do."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from tinsmith_export.api import export
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.load import load_keras, prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.trace import trace
from tinsmith_export.passes.rewrite import rewrite
from tinsmith_runtime.errors import TinsmithError

BOTH = pytest.mark.parametrize("library", [keras, tf_keras])


def refused(model: Any) -> str:
    """What is said of a model."""
    with pytest.raises(TinsmithError) as caught:
        rewrite(read_graph(trace(prepared(model, None, None))))
    return str(caught.value)


@BOTH
def test_a_recurrent_convolution(library: Any) -> None:
    memory = library.layers.ConvLSTM1D(3, 2, name="memory")
    said = refused(library.Sequential([library.Input((4, 5, 2)), memory]))
    assert said.startswith("layer `memory` (ConvLSTM1D) cannot be compiled: it needs ")
    assert "recurrent convolutions are not compiled: take another layer there" in said


@BOTH
@pytest.mark.parametrize("both", [False, True])
def test_more_steps_than_are_unrolled(library: Any, both: bool) -> None:
    layers = library.layers
    memory = layers.LSTM(3, name="memory")
    memory = layers.Bidirectional(memory) if both else memory
    said = refused(library.Sequential([library.Input((65, 2)), memory, layers.Dense(2)]))
    assert "memory` (LSTM) cannot be compiled: it needs 65 steps, more than the 64" in said


@BOTH
def test_a_recurrent_layer_with_a_mask(library: Any) -> None:
    layers = [library.layers.Masking(), library.layers.GRU(3, name="memory")]
    said = refused(library.Sequential([library.Input((4, 2)), *layers]))
    assert "layer `memory` (GRU) cannot be compiled: it needs a mask" in said


@BOTH
def test_a_recurrent_layer_that_keeps_its_state(library: Any) -> None:
    source = library.Input(batch_shape=(2, 4, 2))
    memory = library.layers.GRU(3, stateful=True, name="memory")
    said = refused(library.Model(source, memory(source)))
    assert "it needs the state of the call before: build it with stateful=False" in said


@BOTH
def test_recurrent_layers_are_refused_with_all_others(library: Any) -> None:
    layers = library.layers
    source = library.Input(batch_shape=(2, 100, 3))
    x = layers.LSTM(4, return_sequences=True, return_state=True, name="long")(source)
    x = layers.Dense(3, activation="log_softmax", name="gate")(x[0])
    x = layers.GRU(3, return_sequences=True, stateful=True, name="kept")(x)
    x = layers.SimpleRNN(2, name="skips")(layers.Masking(name="mask")(x))
    with pytest.raises(UnsupportedLayerError) as caught:
        rewrite(read_graph(trace(prepared(library.Model(source, layers.Dense(2)(x)), None, None))))
    said = {reason.split("`")[1]: reason for reason in caught.value.reasons}
    assert said.keys() == {"long", "gate", "kept", "mask", "skips"}
    assert "100 steps" in said["long"]
    assert "LogSoftmax" in said["gate"]
    assert "the state of the call before" in said["kept"]
    assert "it needs a mask, which skips steps" in said["skips"]


def test_layers_that_change_variables_are_refused_with_all_others() -> None:
    layers = [Noise(name="noise"), keras.layers.Dense(3, activation="log_softmax", name="gate")]
    said = refused(keras.Sequential([keras.Input((4,)), *layers]))
    assert said.startswith("2 layers cannot be compiled: layer `noise` (Noise) cannot be compiled")


def test_a_cell_of_ones_own() -> None:
    class Sum(keras.layers.Layer):
        units = state_size = output_size = 2

        def call(self, inputs: Any, states: Any) -> Any:
            return inputs + states[0], [inputs + states[0]]

    memory = keras.layers.RNN(Sum(), name="memory")
    said = refused(keras.Sequential([keras.Input((4, 2)), memory]))
    assert "it needs a cell of another kind than Keras's own, Sum" in said


def test_an_embedding_at_computed_places() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, activation="relu"),
            layers.Embedding(9, 2, name="words"),
        ]
    )
    assert refused(model).startswith("layer `words` (Embedding) cannot be compiled: it needs ")


def quantized() -> Any:
    from tensorflow_model_optimization.quantization.keras import quantize_model

    layers = [tf_keras.layers.Dense(4, activation="relu", name="hidden"), tf_keras.layers.Dense(2)]
    return quantize_model(tf_keras.Sequential([tf_keras.Input((3,)), *layers]))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, as it saves a folder
def test_a_model_that_is_quantized_already(tmp_path: Any) -> None:
    model = quantized()
    assert "(QuantizeLayer): the model is quantized already: give the float" in refused(model)
    for path in (tmp_path / "model.h5", tmp_path / "model.keras"):
        model.save(path)
        with pytest.raises(TinsmithError, match=r"\(Quantize\w+\): the model is quantized already"):
            load_keras(path)
    model.save(tmp_path / "folder", save_format="tf")
    said = refused(load_keras(tmp_path / "folder"))
    assert "rounds already (TensorFlow's FakeQuantWithMinMaxVars): the model is quantized" in said


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_a_model_that_keras_quantized(tmp_path: Any) -> None:
    layers = [keras.layers.Dense(4, activation="relu", name="hidden"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.quantize("int8")
    assert refused(model).startswith("layer `hidden` (Dense): the model is quantized already")
    model.save(tmp_path / "model.keras")
    with pytest.raises(TinsmithError, match="quantized already: give the float model"):
        load_keras(tmp_path / "model.keras")


def test_weights_that_are_no_numbers() -> None:
    broken = keras.layers.Dense(
        2, name="broken", bias_initializer=keras.initializers.Constant(np.nan)
    )
    model = keras.Sequential([keras.Input((3,)), broken])
    assert "layer `broken` holds weights that are NaN" in refused(model)


def volumes() -> Any:
    """A model with three layers that cannot be compiled, two of them behind another such one."""
    layers = keras.layers
    source = keras.Input((4, 4, 4, 2))
    x = layers.Conv3D(3, 2, name="volume")(source)
    x = layers.MaxPooling3D(2, name="largest")(x)
    x = layers.Dense(5, activation="log_softmax", name="gate")(layers.Flatten()(x))
    return keras.Model(source, layers.Dense(2, name="last")(x), name="volumes")


def test_all_layers_are_refused_at_once() -> None:
    with pytest.raises(UnsupportedLayerError) as caught:
        rewrite(read_graph(trace(volumes())))
    reasons = caught.value.reasons
    assert [reason.split("`")[1] for reason in reasons] == ["volume", "largest", "gate"]
    assert reasons[0].startswith("layer `volume` (Conv3D) cannot be compiled: it needs TensorFlow")
    assert "no engine has integer kernels for volumes: make the depth part of" in reasons[1]
    assert "it needs TensorFlow's operator LogSoftmax" in reasons[2]
    assert str(caught.value) == f"3 layers cannot be compiled: {'; '.join(reasons)}"


def test_what_a_refused_operator_gives_besides_is_known() -> None:
    class Halves(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.svd(x)[1]

    source = keras.Input((4, 4))
    x = keras.layers.Dense(3, name="behind")(Halves(name="odd")(source))
    assert refused(keras.Model(source, x)).startswith("layer `odd` (Halves) cannot be compiled")


def test_all_layers_that_are_not_loaded_are_refused_at_once(tmp_path: Any) -> None:
    layers = [keras.layers.Lambda(lambda x: x, name=name) for name in ("one", "two")]
    keras.Sequential([keras.Input((3,)), *layers]).save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedLayerError) as caught:
        load_keras(tmp_path / "model.keras")
    assert [reason.split("`")[1] for reason in caught.value.reasons] == ["one", "two"]
    assert str(caught.value).startswith("2 layers cannot be compiled: layer `one` (Lambda) carries")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, as it saves a folder
def test_all_layers_of_a_folder_are_refused_at_once(tmp_path: Any) -> None:
    volumes().export(tmp_path / "folder", verbose=False)
    with pytest.raises(UnsupportedLayerError) as caught:
        load_keras(tmp_path / "folder")
    said = [reason.split("`")[1] for reason in caught.value.reasons]
    assert [re.sub(r".*\.|_\d+$", "", name) for name in said] == ["volume", "largest", "gate"]


def test_layers_are_refused_before_data_are_read(tmp_path: Any) -> None:
    volumes().save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedLayerError, match=r"^3 layers cannot be compiled"):
        export(tmp_path / "model.keras", str(tmp_path / "none.npz"), tmp_path / "model.tin")


class Loop(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        ops = keras.ops
        return ops.while_loop(lambda x: ops.sum(x) < 9.0, lambda x: (2.0 * x,), (x,))[0]


class Noise(keras.layers.Layer):
    def build(self, _: Any) -> None:
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return x + keras.random.normal((4,), seed=self.seed)


@pytest.mark.filterwarnings("ignore:Layer 'flatten.*' .of type Flatten. was passed an input with")
@pytest.mark.parametrize(
    ("shape", "layer", "said"),
    [
        ((4, 4, 4, 2), keras.layers.Conv3D(2, 2), "make the depth part of the channels"),
        ((4, 2), keras.layers.Masking(), "leave Masking and mask_zero=True out"),
        ((4,), Loop(), "write a loop of a fixed length in Python"),
        ((4,), Noise(), "draw random numbers, in training alone"),
        ((4, 4, 1), keras.layers.Resizing(5, 5, "bicubic"), "take interpolation='bilinear'"),
    ],
    ids=lambda value: value.name if isinstance(value, keras.layers.Layer) else "",
)
def test_what_to_do_is_said(shape: tuple[int, ...], layer: Any, said: str) -> None:
    model = keras.Sequential([keras.Input(shape), layer, keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    found = refused(model)
    assert found.startswith(f"layer `{layer.name}`")
    assert said in found


def test_what_is_not_loaded_has_a_cure_that_works(tmp_path: Any) -> None:
    layers = keras.layers
    source = keras.Input((4,))
    codes = layers.Discretization([0.0], output_mode="one_hot", name="bins")(source)
    model = keras.Model(source, layers.Dense(2, name="last")(layers.Flatten()(codes)))
    model.save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedLayerError) as caught:
        load_keras(tmp_path / "model.keras")
    cure = "compile keras.Model(LAYER.output, OUTPUTS)"
    assert str(caught.value).startswith("layer `bins` names keras.layers.Discretization")
    assert cure in str(caught.value)
    keras.Model(model.get_layer("bins").output, model.output).save(tmp_path / "cured.keras")
    assert read_graph(trace(prepared(load_keras(tmp_path / "cured.keras"), None, None))).weighted
