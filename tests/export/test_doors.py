"""Every kind of file that a model comes in gives the same graph; none gets to run its code."""

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from compiling import require_same_outputs, rewritten

from tinsmith_export.doors import load_keras
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_runtime.errors import TinsmithError

SHAPE = (8, 8, 3)


def residual(module: Any) -> Any:
    """The same small network in either Keras."""
    layers = module.layers
    source = module.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="first")(source)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.ReLU(max_value=6)(layers.Add()([x, y]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = module.Model(source, layers.Dense(3, activation="softmax")(x))
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(0.1, 1.0, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("module", [keras, tf_keras])
def test_the_same_model_through_each_door(module: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    model = residual(module)
    model.save(path)
    inputs = np.random.default_rng(2).uniform(size=(9, *SHAPE)).astype(np.float32)
    require_same_outputs(*rewritten(load_keras(path)), model, inputs)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_h5_file_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    lambda_layer = tf_keras.layers.Lambda(lambda x: x * 2, name="secret")
    tf_keras.Sequential([tf_keras.Input(SHAPE), lambda_layer]).save(path)
    with pytest.raises(UnsupportedLayerError, match=r"`secret` \(Lambda\) carries code"):
        load_keras(path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_h5_file_names_no_module_to_import(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    residual(tf_keras).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["module"] = "antigravity"
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(UnsupportedLayerError, match=r"`first` \(antigravity\.Conv2D\)"):
        load_keras(path)


def test_weights_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    residual(keras).save_weights(path)
    with pytest.raises(TinsmithError, match="weights alone"):
        load_keras(path)
