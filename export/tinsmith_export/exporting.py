"""The export's face; imports TensorFlow when called, not before."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinsmith_export.fields import check_options
from tinsmith_export.samples import Samples, from_dataset
from tinsmith_runtime.files import require_writable
from tinsmith_runtime.manifest import Manifest
from tinsmith_train import Dataset
from tinsmith_train.isolation import isolated
from tinsmith_train.limits import require
from tinsmith_train.noise import import_tensorflow

AUTO = "auto"
"""In place of a layer to keep float: as few as the gate takes."""


@dataclass(frozen=True)
class Checkpoint:
    """How far the rounded model agrees with the float one on inputs held back.

    Attributes:
        step: of the fine-tuning.
        agreement: how often both answer the same class (0..1); `None` for values.
        mean_squared_error: of the outputs; of several the mean, each measured by its own spread.
    """

    step: int
    agreement: float | None
    mean_squared_error: float

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: agreement of classes first, then the smaller error of the outputs."""
        return self.agreement or 0.0, -self.mean_squared_error


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing does to a layer, on inputs held back; where there is none, `None`.

    Attributes:
        layer: its name.
        kind: `Conv2D` for example.
        weight_bits: 7 or 8; 32 where it is kept float; `None` without weights.
        output_range: the lowest and the highest output that its int8 codes stand for.
        weight_range: its smallest and its largest weight before rounding.
        clipped: the part of its outputs (0..1), in float, that lies outside.
        sqnr_db: of its output, all layers quantized, against the same weights unrounded.
        alone_drop_pp: percentage points of agreement with the unrounded model that are lost when
            this layer alone is quantized; `None` for values, and if it was not measured.
        alone_sqnr_db: of the model's output then.
    """

    layer: str
    kind: str
    weight_bits: int | None
    output_range: tuple[float, float]
    weight_range: tuple[float, float] | None
    clipped: float
    sqnr_db: float | None
    alone_drop_pp: float | None
    alone_sqnr_db: float | None


class Progress:
    """Hears how an export goes; this one is silent."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def step(self, step: int, steps: int, loss: float) -> None:
        """Fine-tuning has done `step` of `steps`."""

    def layer(self, layer: int, layers: int) -> None:
        """`layer` of `layers` have been measured."""

    def warn(self, text: str) -> None:
        """Something may be wrong."""

    def stop(self) -> None:
        """The export is over, well or not."""


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        input_range: the real values that the model takes for pixels 0 and 255, in every image.
        recipe: `ptq`, calibration alone, or `qat`, calibration and then fine-tuning.
        qat_steps: steps of fine-tuning, a batch of up to 128 inputs each.
        max_drop_pp: how many percentage points of accuracy int8 may lose; without labels, of
            agreement with float.
        seed: of everything random.
        keep_float: layers whose weights are not rounded, by name; `auto` keeps as few more as
            `max_drop_pp` takes on inputs held back.
        layer_errors: whether to measure what quantizing does to each layer's output.
        sensitivity: whether to measure too what quantizing each layer alone costs.
        input_shape: without the batch, for a model with one input that takes several sizes or
            none yet.
        output: which one of several outputs to compile alone; all if `None`.
        custom_objects: name to class or function, for a file with some of one's own.
        release: of the bundle, 0 to 2147483647: `tinsmith install` refuses one that is lower than
            what a folder has had.
    """

    input_range: tuple[float, float] = (0.0, 1.0)
    recipe: str = "qat"
    qat_steps: int = 800
    max_drop_pp: float = 0.5
    seed: int = 0
    keep_float: tuple[str, ...] = ()
    layer_errors: bool = False
    sensitivity: bool = False
    input_shape: tuple[int, ...] | None = None
    output: str | None = None
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    release: int = 0

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            UsageError: one cannot be; the message begins with its name.
        """
        check_options(self)


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Attributes:
        manifest: of the bundle that was written.
        checkpoints: of the fine-tuning, the first without any.
        kernels: the integer kernels of ONNX Runtime's own graph, counted.
        sensitivities: what quantizing does to each layer, in the order of computation; empty if
            neither `layer_errors` nor `sensitivity` asked for it.
        warnings: what may be wrong with the inputs, a line each.
        peak_memory_mb: the most that this process held so far, in 2**20 bytes.
    """

    manifest: Manifest
    checkpoints: tuple[Checkpoint, ...]
    kernels: Mapping[str, int]
    sensitivities: tuple[Sensitivity, ...]
    warnings: tuple[str, ...]
    peak_memory_mb: float


def export(
    path: Path,
    samples: Dataset | Samples | str,
    out: Path,
    options: Options | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> Exported:
    """Compiles a Keras model file to int8 TFLite and int8 ONNX, proves them, writes a bundle.

    Args:
        path: a `.keras` file of Keras 3 or tf_keras, an `.h5` file, or a SavedModel folder.
        samples: to calibrate, fine-tune and prove on; or where to find them, as `--calibration`.
        out: the `.tin` file to write.
        options: the defaults of `Options` if `None`.
        progress: hears how it goes.
        verbose: let TensorFlow log.

    Raises:
        UsageError: model, samples and options do not fit each other, no layer has the name of
            one to keep float, or nothing can be written to `out`.
        UnsupportedLayerError: a layer cannot be compiled.
        ConversionError: a step gave something else than what went in.
        GateError: int8 loses too much, or the engines disagree; nothing is written.
    """
    options = options or Options()
    require_writable(out)
    with _isolated(options, verbose):
        from tinsmith_export.doors import load_keras

        model = load_keras(Path(path), options.custom_objects)
        return compile_model(model, samples, out, options, progress, verbose)


def compile_model(
    model: Any,
    samples: Dataset | Samples | str,
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
    require_writable(out)
    samples = _samples(samples)
    with _isolated(options, verbose):
        from tinsmith_export.pipeline import compile_bundle

        return compile_bundle(model, samples, out, options, progress or Progress())


def sensitivity(
    path: Path,
    samples: Dataset | Samples | str,
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
    """
    options = replace(options or Options(), sensitivity=True)
    samples = _samples(samples)
    with _isolated(options, verbose):
        from tinsmith_export.doors import load_keras
        from tinsmith_export.pipeline import measure_layers

        model = load_keras(Path(path), options.custom_objects)
        return measure_layers(model, samples, options, progress or Progress())


@contextmanager
def _isolated(options: Options, verbose: bool) -> Iterator[None]:
    """Leaves what is global in the caller's program as it was; see `isolated`."""
    import_tensorflow(verbose)
    import keras
    import tf_keras

    with isolated(options.seed, keras, tf_keras):
        yield


def _samples(samples: Dataset | Samples | str) -> Samples | str:
    """Samples, or where to find them."""
    fits = isinstance(samples, Dataset | Samples | str)
    require(fits, "samples", "a Dataset, Samples, or what --calibration takes", samples)
    return from_dataset(samples) if isinstance(samples, Dataset) else samples
