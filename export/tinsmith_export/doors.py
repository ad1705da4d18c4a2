"""The doors: a Keras file, a SavedModel folder or a model object becomes one that can be traced.

No code that a file carries is run. What a `.keras` or `.h5` file holds is looked at before Keras
sees it, a class that is not Keras's own must be given by name, and Keras loads in its safe mode.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf
import tf_keras

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.operators import READERS, ROUNDINGS
from tinsmith_export.frontend.trace import PASS, output_names, parts
from tinsmith_export.savedmodel import FILE, SavedModel, load_saved_model
from tinsmith_runtime.errors import TinsmithError, UsageError

_SUFFIXES = (".keras", ".h5")
_TROUBLE = (AttributeError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile)
# Where classes of Keras's own live; a file that names another module would have it imported.
_MODULES = ("keras.", "tf_keras.", "tensorflow.keras.", "tensorflow.python.keras.")
# What only a model that was quantized before has.
_QUANTIZED = ("QuantizeWrapper", "QuantizeWrapperV2", "QuantizeLayer", "QuantizedDTypePolicy")
# Layers that `.h5` files name and that `keras.layers` does not.
_UNLISTED = ("Functional", "Model", "Sequential", "SlicingOpLambda", "TFOpLambda")


def load_keras(path: Path, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Loads a model without running code that its file carries.

    Args:
        path: a `.keras` file of Keras 3 or tf_keras, an `.h5` file, or a SavedModel folder.
        custom_objects: name to class or function, for what is not Keras's own.

    Returns:
        A `keras.Model`, a `tf_keras.Model` or a `SavedModel`, whichever was saved.

    Raises:
        UsageError: no such file, or another kind of file.
        UnsupportedLayerError: the file holds a Lambda or an unknown class, by name.
        TinsmithError: the file is damaged, quantized already, or Keras refuses it.
    """
    if path.is_dir():
        if not (path / FILE).is_file():
            files = sorted(str(file) for file in path.iterdir() if file.suffix in _SUFFIXES)
            cure = (
                f"or name {' or '.join(files)}" if files else "save it with model.export('FOLDER')"
            )
            raise UsageError(f"{path}: expected a SavedModel folder with {FILE} in it: {cure}")
        return load_saved_model(path, {*READERS, *PASS, *ROUNDINGS})
    if not path.is_file():
        raise UsageError(f"{path}: no such model: make one with `tinsmith train`")
    if path.suffix not in _SUFFIXES:
        raise UsageError(
            f"{path}: expected a file {' or '.join(_SUFFIXES)}, or a SavedModel folder: "
            "save it with model.save('NAME.keras')"
        )
    known = _registered(custom_objects or {})
    try:
        version, config = _read_config(path)
        library = keras if version.startswith("3.") else tf_keras
        for entry in _objects(config):
            _refuse_code(entry, known)
        for layer in _layers(config):
            _refuse_unknown(layer, library, known)
        with keras.saving.custom_object_scope(known), tf_keras.saving.custom_object_scope(known):
            return library.models.load_model(path, compile=False, safe_mode=True)
    except _TROUBLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TinsmithError(f"{path}: Keras cannot load the model: {reason[0]}") from error


def prepared(model: Any, input_shape: tuple[int, ...] | None, output: str | None) -> Any:
    """Gives a model the form that is compiled: built, with lists of inputs and of outputs.

    Args:
        model: a model of Keras 3 or tf_keras, or a `SavedModel`.
        input_shape: without the batch, for a model that has none yet.
        output: the name of one of several outputs, to compile it alone.

    Raises:
        UsageError: there is no such output, or this is no model.
        TinsmithError: there is no input shape, or the model is quantized already.
    """
    if not isinstance(model, keras.Model | tf_keras.Model | SavedModel):
        raise UsageError(f"expected a model of Keras 3 or tf_keras, got {type(model).__name__}")
    for part in () if isinstance(model, SavedModel) else parts(model):
        if getattr(part, "quantization_mode", None) or type(part).__name__ in _QUANTIZED:
            raise _already_quantized(part.name, type(part).__name__)
    library: Any = tf_keras if isinstance(model, tf_keras.Model) else keras
    if not isinstance(model, SavedModel) and not getattr(model, "inputs", None):
        if input_shape is None:
            raise TinsmithError(
                f"{model.name}: the model has no input shape: say one with --input-shape H W C"
            )
        if isinstance(model, library.Sequential):
            model.build((None, *input_shape))
        else:
            source = library.Input(input_shape)
            model = library.Model(source, model(source), name=model.name)
    outputs = _outputs(model)
    if output is not None and output not in outputs:
        raise UsageError(f"--output {output}: the model's outputs are {', '.join(outputs)}")
    chosen = outputs if output is None else {output: outputs[output]}
    if isinstance(model, SavedModel):
        return replace(model, outputs=chosen)
    # A sequential model of Keras 3 has neither `input` nor `output`.
    if chosen is outputs and _flat(getattr(model, "input", None), getattr(model, "output", None)):
        return model
    flat = library.Model(_alone(model.inputs), _alone(chosen.values()), name=model.name)
    flat.output_names = list(chosen)
    return flat


def _outputs(model: Any) -> Mapping[str, Any]:
    """The outputs by name, in the model's order."""
    if isinstance(model, SavedModel):
        return model.outputs
    names, given = output_names(model), getattr(model, "output", None)
    if isinstance(given, dict) and len(given) == len(model.outputs):
        # Keras sorts them somehow, names as it does tensors.
        names = tuple(tf.nest.flatten({name: name for name in given}))
    return dict(zip(names, model.outputs, strict=True))


def _flat(*ends: Any) -> bool:
    """Whether inputs and outputs are tensors, or lists of these."""
    inside = [part for end in ends for part in (end if isinstance(end, list) else [end])]
    return not any(isinstance(part, dict | list | tuple) for part in inside)


def _alone(tensors: Iterable[Any]) -> Any:
    """A list, of one tensor this one."""
    found = list(tensors)
    return found if len(found) > 1 else found[0]


def _registered(custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    """Every name under which either Keras may have saved a class or function of one's own."""
    known = dict(custom_objects)
    for value in custom_objects.values():
        for library in (keras, tf_keras):
            known.setdefault(library.saving.get_registered_name(value), value)
        known.setdefault(value.__name__, value)
    return known


def _read_config(path: Path) -> tuple[str, Any]:
    """The version of Keras that wrote a file, and the model's configuration."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            version = json.loads(archive.read("metadata.json"))["keras_version"]
            return str(version), json.loads(archive.read("config.json"))
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("weights alone, no model: save it with model.save, not save_weights")
        return str(file.attrs.get("keras_version", "2")), json.loads(file.attrs["model_config"])


def _objects(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every serialized object in a configuration, from the outside in."""
    if isinstance(tree, dict):
        if "class_name" in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _objects(branch)


def _layers(config: Any) -> Iterator[Mapping[str, Any]]:
    """The layers of a model's configuration, and of the models in it."""
    for entry in _objects(config):
        inside = entry.get("config")
        if isinstance(inside, dict) and isinstance(inside.get("layers"), list):
            yield from (layer for layer in inside["layers"] if "class_name" in layer)


def _name(entry: Mapping[str, Any]) -> str:
    config = entry.get("config")
    return str(config.get("name", entry["class_name"]) if isinstance(config, dict) else config)


def _already_quantized(name: str, kind: str) -> TinsmithError:
    return TinsmithError(
        f"layer `{name}` ({kind}): the model is quantized already: give the float model that it "
        "was made of"
    )


def _refuse_code(entry: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuses what Keras would run or import, and what is quantized already."""
    kind, module, name = entry["class_name"], entry.get("module"), _name(entry)
    if kind.rpartition(">")[2] in _QUANTIZED:
        raise _already_quantized(name, kind)
    if kind in ("Lambda", "__lambda__"):
        raise UnsupportedLayerError(
            f"layer `{name if kind == 'Lambda' else kind}` (Lambda) carries code, which is not "
            "run: write it as a layer class of your own and name that with --custom-objects "
            "module:NAME, or save the model with model.export('FOLDER') and compile the folder"
        )
    title = name if kind == "function" else kind
    if {title, entry.get("registered_name")} & known.keys() or module is None:
        return
    if not f"{module}.".startswith(_MODULES):
        what = f"function `{name}`" if kind == "function" else f"layer `{name}` ({module}.{kind})"
        place = "module" if module == "builtins" else module
        raise UnsupportedLayerError(
            f"{what} is not one of Keras's own and is not loaded: if it is yours, name it with "
            f"--custom-objects {place}:{title}"
        )


def _refuse_unknown(layer: Mapping[str, Any], library: Any, known: Mapping[str, Any]) -> None:
    """Refuses a layer that names no module and that Keras does not know."""
    kind = layer["class_name"]
    if layer.get("module") is None and kind not in known and kind not in _UNLISTED:
        if hasattr(library.layers, kind):
            return
        raise UnsupportedLayerError(
            f"layer `{_name(layer)}` ({kind}) is not one of Keras's own: name its class with "
            f"--custom-objects module:{kind.rpartition('>')[2]}"
        )
