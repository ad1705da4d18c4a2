"""The public functions of export; imports TensorFlow when called, not before."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinsmith_data import Dataset
from tinsmith_data.isolation import isolated
from tinsmith_data.limits import require
from tinsmith_data.quiet import import_tensorflow
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.inputs.samples import Samples, from_dataset
from tinsmith_export.inputs.sources import Source
from tinsmith_export.options import Options
from tinsmith_export.progress import Progress
from tinsmith_export.results import Checked, Exported, Sensitivity
from tinsmith_export.targets.names import require_targets
from tinsmith_runtime.files import require_writable


def export(
    path: Path,
    samples: Dataset | Samples | Source | str,
    out: Path,
    options: Options | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> Exported:
    """Compiles a Keras model file to int8 TFLite and int8 ONNX, proves them, writes a bundle.

    Args:
        path: a `.keras` file of Keras 3 or tf_keras, an `.h5` or `.hdf5` file, or a SavedModel
            folder.
        samples: to calibrate, fine-tune and prove on; or where to find them, as `--data`.
        out: the `.tin` file to write.
        options: the defaults of `Options` if `None`.
        progress: hears how it goes.
        verbose: let TensorFlow log.

    Raises:
        UsageError: model, samples and options do not fit each other, no layer has the name of
            one to keep float, or nothing can be written to `out`.
        UnsupportedLayerError: a layer cannot be compiled.
        ConversionError: a step gave something else than what went in.
        GateError: int8 loses too much, or the engines disagree; its `exported` has every number.
            Nothing is written but what `options.keep_rejected` asks for.
    """
    options = options or Options()
    _require_places(out, options)
    with _isolated(options, verbose):
        from tinsmith_export.frontend.load import load_keras

        model = load_keras(Path(path), options.custom_objects)
        return compile_model(model, samples, out, options, progress, verbose)


def compile_model(
    model: Any,
    samples: Dataset | Samples | Source | str,
    out: Path,
    options: Options | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> Exported:
    """Compiles a Keras model to int8 TFLite and int8 ONNX, proves them, and writes a bundle.

    Seeds, random numbers and settings of the caller's program are afterwards what they were; only
    `TF_CPP_MIN_LOG_LEVEL` stays set, where TensorFlow was not imported before.

    Args:
        model: of Keras 3 or tf_keras.
        samples: as `export`, like the other arguments and what is raised.
        out: as `export`.
        options: as `export`.
        progress: as `export`.
        verbose: as `export`.
    """
    options = options or Options()
    _require_places(out, options)
    samples = _samples(samples)
    with _isolated(options, verbose):
        from tinsmith_export.pipeline.run import compile_bundle

        return compile_bundle(model, samples, out, options, progress or Progress())


def sensitivity(
    path: Path,
    samples: Dataset | Samples | Source | str,
    options: Options | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> tuple[Sensitivity, ...]:
    """Quantizes a Keras model file and measures what that does to each layer; writes nothing.

    Args:
        path: as `export`, like the other arguments and what is raised.
        samples: as `export`.
        options: as `export`.
        progress: as `export`.
        verbose: as `export`.

    Returns:
        A row a layer, in the order of computation.

    Raises:
        FloatChoiceError: `keep_float="auto"` misses the limit; it has the rows.
    """
    options = replace(options or Options(), sensitivity=True)
    samples = _samples(samples)
    with _isolated(options, verbose):
        from tinsmith_export.frontend.load import load_keras
        from tinsmith_export.pipeline.run import measure_layers

        model = load_keras(Path(path), options.custom_objects)
        return measure_layers(model, samples, options, progress or Progress())


def check(path: Path, options: Options | None = None, verbose: bool = False) -> Checked:
    """Says in seconds what an export would make of a Keras model file; it needs no data.

    Args:
        path: as `export`.
        options: as `export`; what says how to read the model, and `targets`, count.
        verbose: as `export`.

    Returns:
        What each layer becomes in each target, or `Checked.refused`, why layers cannot be compiled.

    Raises:
        UsageError: as `export`.
        TinsmithError: the file is damaged, or holds a model that is quantized already.
    """
    options = options or Options()
    require_targets(options.targets)
    with _isolated(options, verbose):
        from tinsmith_export.frontend.load import load_keras
        from tinsmith_export.pipeline.checking import check_model

        try:
            return check_model(load_keras(Path(path), options.custom_objects), options)
        except UnsupportedLayerError as error:
            return Checked(refused=error.reasons)


def _require_places(out: Path, options: Options) -> None:
    """Checks the targets, and that the bundle can be written, or kept if a gate fails."""
    require_targets(options.targets)
    require_writable(out)
    kept = options.keep_rejected
    if kept is not None:
        require_writable(kept)
        require(kept.resolve() != Path(out).resolve(), "keep_rejected", "another file", str(kept))


@contextmanager
def _isolated(options: Options, verbose: bool) -> Iterator[None]:
    """Leaves what is global in the caller's program as it was; see `isolated`."""
    import_tensorflow(verbose)
    import keras
    import tf_keras

    with isolated(options.seed, keras, tf_keras):
        yield


def _samples(samples: Dataset | Samples | Source | str) -> Samples | Source:
    """Samples, or where to find them."""
    fits = isinstance(samples, Dataset | Samples | Source | str)
    require(fits, "samples", "a Dataset, Samples, or what --data takes", samples)
    if isinstance(samples, str):
        return Source(samples)
    return from_dataset(samples) if isinstance(samples, Dataset) else samples
