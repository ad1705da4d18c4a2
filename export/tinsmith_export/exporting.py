"""The export's face; imports TensorFlow when called, not before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith_export.samples import Samples, from_dataset
from tinsmith_runtime.manifest import Manifest
from tinsmith_train import Dataset
from tinsmith_train.noise import import_tensorflow


@dataclass(frozen=True)
class Checkpoint:
    """How far the rounded model agrees with the float one on inputs held back."""

    step: int
    agreement: float
    mean_squared_error: float

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: agreement first, then the smaller error of the logits."""
        return self.agreement, -self.mean_squared_error


class Progress:
    """Hears how an export goes; this one is silent."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def step(self, step: int, steps: int, loss: float) -> None:
        """Fine-tuning has done `step` of `steps`."""

    def warn(self, text: str) -> None:
        """Something may be wrong."""

    def stop(self) -> None:
        """The export is over, well or not."""


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        input_range: the real values that the model takes for pixels 0 and 255.
        recipe: `ptq`, calibration alone, or `qat`, calibration and then fine-tuning.
        qat_steps: steps of fine-tuning, a batch of up to 128 inputs each.
        max_drop_pp: how many percentage points of accuracy int8 may lose; without labels, of
            agreement with float.
        seed: of everything random.
        input_shape: without the batch, for a model that takes several sizes or none yet.
        output: which one of several outputs to compile.
        custom_objects: name to class or function, for a file with some of one's own.
    """

    input_range: tuple[float, float] = (0.0, 1.0)
    recipe: str = "qat"
    qat_steps: int = 800
    max_drop_pp: float = 0.5
    seed: int = 0
    input_shape: tuple[int, ...] | None = None
    output: str | None = None
    custom_objects: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Attributes:
        manifest: of the bundle that was written.
        checkpoints: of the fine-tuning, the first without any.
        kernels: the integer kernels of ONNX Runtime's own graph, counted.
        warnings: what may be wrong with the inputs, a line each.
        peak_memory_mb: the most that this process held so far, in 2**20 bytes.
    """

    manifest: Manifest
    checkpoints: tuple[Checkpoint, ...]
    kernels: Mapping[str, int]
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
        UsageError: model, samples and options do not fit each other.
        UnsupportedLayerError: a layer cannot be compiled.
        ConversionError: a step gave something else than what went in.
        GateError: int8 loses too much, or the engines disagree; nothing is written.
    """
    import_tensorflow(verbose)
    from tinsmith_export.doors import load_keras

    model = load_keras(path, (options or Options()).custom_objects)
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

    Args:
        model: of Keras 3 or tf_keras, one input.
        samples: as `export`, like the other arguments and what is raised.
        out: as `export`.
        options: as `export`.
        progress: as `export`.
        verbose: as `export`.
    """
    import_tensorflow(verbose)
    from tinsmith_export.pipeline import compile_bundle

    if isinstance(samples, Dataset):
        samples = from_dataset(samples)
    return compile_bundle(model, samples, out, options or Options(), progress or Progress())
