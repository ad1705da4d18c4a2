"""What cannot be compiled is refused in one line that names the layer and says what to do."""

from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.load import load_keras, prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.trace import trace
from tinsmith_export.passes.rewrite import rewrite
from tinsmith_runtime.errors import TinsmithError

BOTH = pytest.mark.parametrize("library", [keras, tf_keras])


def refused(model: Any) -> str:
    """What is said of a model; each is refused by its first operator that cannot be read."""
    with pytest.raises(TinsmithError) as caught:
        rewrite(read_graph(trace(prepared(model, None, None))))
    return str(caught.value)


@BOTH
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("unroll", [False, True])
def test_a_recurrent_layer(library: Any, kind: str, unroll: bool) -> None:
    layers = library.layers
    memory = getattr(layers, kind)(3, unroll=unroll, name="memory")
    model = library.Sequential([library.Input((4, 2)), memory, layers.Dense(2)])
    said = refused(model)
    assert said.startswith(f"layer `memory` ({kind}) cannot be compiled: it needs ")
    assert "recurrent layers are not compiled: take another layer there" in said


@BOTH
def test_a_recurrent_layer_read_backwards(library: Any) -> None:
    layers = library.layers
    both = layers.Bidirectional(layers.LSTM(3), name="both")
    model = library.Sequential([library.Input((4, 2)), both, layers.Dense(2)])
    said = refused(model)
    assert said.startswith("layer `both")
    assert "recurrent layers are not compiled" in said


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


def test_the_error_is_of_a_layer() -> None:
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3)])
    with pytest.raises(UnsupportedLayerError):
        read_graph(trace(model))
