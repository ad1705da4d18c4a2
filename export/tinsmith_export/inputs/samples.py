"""What a model is compiled with: calibration data and evaluation data."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data import Dataset
from tinsmith_data.boxes import are_boxes
from tinsmith_data.data import class_indices, digest, divide
from tinsmith_data.limits import require
from tinsmith_runtime.batch import Arrays, count, joined, parts, rows
from tinsmith_runtime.errors import UsageError


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, with labels where there are some.

    Attributes:
        name: of where they come from.
        sha256: 64 hex digits over all of it.
        calibration: `uint8 (N, H, W, C)` pixels or `float32 (N, …)` features, for ranges and
            fine-tuning; for a model of several inputs a tuple of arrays, in its order.
        calibration_labels: `int64 (N,)`, or none; where the outputs are classes,
            fine-tuning learns from them; elsewhere they are ignored.
        evaluation: the same kind of inputs, to judge the result on.
        evaluation_labels: `int64 (M,)`, or none.
        classes: the names of the classes, or none.
    """

    name: str
    sha256: str
    calibration: Arrays
    calibration_labels: NDArray[np.int64] | None
    evaluation: Arrays
    evaluation_labels: NDArray[np.int64] | None
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks what the bundle will say of them, and the labels.

        Raises:
            UsageError: a name has control characters, the hash is none, or the labels are not one
                whole number of 0 or more for each input.
        """
        for text in (self.name, *self.classes):
            fits = isinstance(text, str) and not re.search(
                r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text
            )
            require(fits, "samples", "names without control characters", text)
        fits = isinstance(self.sha256, str) and bool(re.fullmatch("[0-9a-f]{64}", self.sha256))
        require(fits, f"{self.name}: sha256", "64 hex digits", self.sha256)
        for key, inputs in (
            ("calibration_labels", self.calibration),
            ("evaluation_labels", self.evaluation),
        ):
            labels = checked_labels(f"{self.name}: {key}", getattr(self, key), count(inputs))
            object.__setattr__(self, key, labels)

    def class_names(self, count: int) -> tuple[str, ...]:
        """The names of so many classes: their numbers where there are none."""
        return self.classes or tuple(map(str, range(count)))


def kind_of(inputs: NDArray[Any]) -> str:
    """`image` for pixels, `ids` for whole numbers, or `features`: the manifest's words."""
    if inputs.dtype == np.int32:
        return "ids"
    return "image" if inputs.dtype == np.uint8 and inputs.ndim == 4 else "features"


def from_dataset(dataset: Dataset) -> Samples:
    """A labelled dataset: training images calibrate, test images evaluate."""
    return Samples(
        dataset.name,
        dataset.sha256,
        dataset.x_train,
        dataset.y_train,
        dataset.x_test,
        dataset.y_test,
        dataset.labels,
    )


def split(
    name: str, inputs: Arrays, labels: NDArray[Any] | None, seed: int, shapes: Any = None
) -> Samples:
    """Four fifths for calibration and one for evaluation, in an order that the seed chooses.

    Args:
        name: of where they come from.
        inputs: as they were found, `(N, …)` each.
        labels: `(N,)`, or none.
        seed: of the order.
        shapes: of the model's inputs, as many; `None` if they have these for certain.

    Raises:
        UsageError: they are too few, or neither pixels nor features.
    """
    inputs = checked(name, inputs, shapes)
    calibration, evaluation = divide(name, count(inputs), seed)
    labels = checked_labels(name, labels, count(inputs))
    chosen = None if labels is None else labels[evaluation]
    return made(name, rows(inputs, calibration), rows(inputs, evaluation), chosen, ())


def made(
    name: str,
    calibration: Arrays,
    evaluation: Arrays,
    labels: NDArray[np.int64] | None,
    classes: tuple[str, ...],
    calibration_labels: NDArray[np.int64] | None = None,
) -> Samples:
    """Samples with the hash over them; `labels` are those of `evaluation`."""
    known = [array for array in (labels, calibration_labels) if array is not None]
    sha256 = digest(*parts(calibration), *parts(evaluation), *known)
    return Samples(name, sha256, calibration, calibration_labels, evaluation, labels, classes)


def checked(name: str, inputs: Arrays, shapes: Any = None) -> Arrays:
    """Pixels as `uint8`, features as `float32`; see `split`."""
    arrays = parts(inputs)
    pairs = zip(arrays, shapes or [None] * len(arrays), strict=True)
    return joined([_checked(name, array, shape) for array, shape in pairs])


def _checked(name: str, inputs: NDArray[Any], shape: tuple[int, ...] | None) -> NDArray[Any]:
    if inputs.dtype.kind in "iu" and inputs.dtype != np.uint8 and inputs.ndim < 4:
        if inputs.size and not 0 <= int(inputs.min()) <= int(inputs.max()) < 2**31:
            raise UsageError(f"{name}: expected whole numbers from 0 to 2^31, got others")
        return inputs.astype(np.int32)  # of an Embedding; `enter` refuses them elsewhere
    if inputs.dtype.kind != "f" and inputs.dtype != np.uint8:
        raise UsageError(
            f"{name}: expected uint8 pixels or float features, got {inputs.dtype}: cast them, "
            "with x.astype('uint8') or x.astype('float32')"
        )
    # Grey images get their one channel.
    if shape is not None and inputs.shape[1:] == shape[:-1] and shape[-1:] == (1,):
        inputs = inputs[..., np.newaxis]
    pixels = inputs.dtype == np.uint8 and inputs.ndim == 4
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.asarray(inputs) if pixels else inputs.astype(np.float32)


def checked_labels(name: str, labels: NDArray[Any] | None, count: int) -> NDArray[np.int64] | None:
    """Labels as `int64 (N,)`, one-hot or not; boxes are none.

    Raises:
        UsageError: they are something else.
    """
    if labels is None or are_boxes(labels):
        return None
    labels = class_indices(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise UsageError(
            f"{name}: expected integer labels ({count},), got {labels.dtype} of shape "
            f"{labels.shape}: leave them out where the model does not classify"
        )
    if count and labels.min() < 0:
        raise UsageError(f"{name}: expected labels of 0 or more, got {labels.min()}")
    return labels.astype(np.int64)
