"""The doors: a Keras 3 `.keras`, a tf_keras `.keras` and an `.h5` file become a Keras model.

No code that a file carries is run: `.keras` files are loaded in Keras's safe mode, and the layers
of an `.h5` file, for which there is no such mode, are looked at before Keras sees the file.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import tf_keras

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_runtime.errors import TinsmithError, UsageError

_SUFFIXES = (".keras", ".h5")
_TROUBLE = (AttributeError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile)
# Where classes of Keras's own live; a file that names another module would have it imported.
_MODULES = ("keras.", "tf_keras.", "tensorflow.keras.", "tensorflow.python.keras.")


def load_keras(path: Path) -> Any:
    """Loads a model without running code that its file carries.

    Args:
        path: a `.keras` file of Keras 3 or tf_keras, or an `.h5` file.

    Returns:
        A `keras.Model` or a `tf_keras.Model`, whichever wrote the file.

    Raises:
        UsageError: no such file, or another kind of file.
        UnsupportedLayerError: an `.h5` file holds a Lambda or a class that is not Keras's own.
        TinsmithError: the file is damaged or Keras refuses it.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such model: make one with `tinsmith train`")
    if path.suffix not in _SUFFIXES:
        raise UsageError(
            f"{path}: expected a file {' or '.join(_SUFFIXES)}: "
            "save it with model.save('NAME.keras')"
        )
    try:
        modern = _keras_version(path).startswith("3.")
        if modern:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        return tf_keras.models.load_model(path, compile=False, safe_mode=True)
    except _TROUBLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TinsmithError(f"{path}: Keras cannot load the model: {reason[0]}") from error


def _keras_version(path: Path) -> str:
    """The version of Keras that wrote a file; refuses an `.h5` file that carries code."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("weights alone, no model: save it with model.save, not save_weights")
        for entry in _objects(json.loads(file.attrs["model_config"])):
            _refuse_code(entry)
        return str(file.attrs.get("keras_version", "2"))


def _objects(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every serialized object in a configuration, from the outside in."""
    if isinstance(tree, dict):
        if "class_name" in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _objects(branch)


def _refuse_code(entry: Mapping[str, Any]) -> None:
    kind, module = entry["class_name"], entry.get("module")
    config = entry.get("config")
    name = config.get("name", kind) if isinstance(config, dict) else kind
    if kind == "Lambda":
        raise UnsupportedLayerError(
            f"layer `{name}` (Lambda) carries code, which is not run: use a layer of Keras's own"
        )
    if module is not None and not f"{module}.".startswith(_MODULES):
        raise UnsupportedLayerError(
            f"layer `{name}` ({module}.{kind}) is not one of Keras's own and is not loaded: "
            "use a layer of Keras's own"
        )
