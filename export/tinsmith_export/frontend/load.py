"""Loading: a Keras file, a SavedModel folder or a model object becomes one that can be traced.

No code that a file carries is run. What a `.keras` or HDF5 file holds is looked at before Keras
sees it (`container`, `safety`), a class that is not Keras's own must be given by name, and Keras
loads in its safe mode.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from tinsmith_data.interrupts import held_interrupts
from tinsmith_export.frontend import allowed
from tinsmith_export.frontend.container import read_contents, require_small, weights_at_most
from tinsmith_export.frontend.operators import READERS, ROUNDINGS
from tinsmith_export.frontend.safety import QUANTIZED, already_quantized, check_configuration
from tinsmith_export.frontend.savedmodel import FILE, SavedModel, load_saved_model
from tinsmith_export.frontend.trace import PASS, output_names
from tinsmith_export.frontend.watch import parts
from tinsmith_runtime.errors import TinsmithError, UsageError

_SUFFIXES = (".keras", ".h5", ".hdf5")
# tf_keras's InceptionResNetV2 has a layer that it registers as a user's would be.
_SCALE = "Custom>CustomScaleLayer"
# tf_keras makes an operator for each step of these.
_SLOW = frozenset(("UpSampling1D", "UpSampling3D"))


@held_interrupts()
def load_keras(path: Path, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Loads a model without running code that its file carries.

    Args:
        path: a `.keras` file of Keras 3 or tf_keras, an `.h5` or `.hdf5` file, or a SavedModel
            folder.
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
    if not path.exists():
        raise UsageError(f"{path}: no such model: make one with `tinsmith train`")
    if path.suffix not in _SUFFIXES:
        raise UsageError(
            f"{path}: expected a file {', '.join(_SUFFIXES)}, or a SavedModel folder: "
            "save it with model.save('NAME.keras')"
        )
    known = _registered(custom_objects or {})
    known.setdefault(_SCALE, tf_keras.saving.get_registered_object(_SCALE))
    libraries = (keras, tf_keras)
    registered = {name for one in libraries for name in one.saving.get_custom_objects()}
    registered -= allowed.REGISTERED
    try:
        contents = read_contents(path)
        library = keras if contents.version.startswith("3.") else tf_keras
        slow = _SLOW if library is tf_keras else frozenset[str]()
        check_configuration(contents.config, known, registered, slow)
        with (
            keras.saving.custom_object_scope(known),
            tf_keras.saving.custom_object_scope(known),
            weights_at_most(libraries, contents.elements),
        ):
            model = library.models.load_model(path, compile=False, safe_mode=True)
        require_small(parts(model))
        return model
    except TinsmithError:
        raise
    except Exception as error:  # a damaged file may end in any error of Keras or TensorFlow
        if isinstance(error, OSError) and error.strerror:
            raise TinsmithError(f"{path}: {error.strerror}") from error
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
        if getattr(part, "quantization_mode", None) or type(part).__name__ in QUANTIZED:
            raise already_quantized(part.name, type(part).__name__)
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
