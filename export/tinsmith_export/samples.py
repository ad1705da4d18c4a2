"""What a model is compiled with: inputs to calibrate and tune on, and others to prove it on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_train import Dataset


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, with labels where there are some.

    Attributes:
        name: of where they come from.
        sha256: 64 hex digits over all of it.
        tuning: `uint8 (N, H, W, C)` pixels or `float32 (N, …)` features, to calibrate and tune on.
        tuning_labels: `int64 (N,)`, or none.
        proof: the same kind of inputs, to prove the result on.
        proof_labels: `int64 (M,)`, or none.
        classes: the names of the classes, or none.
    """

    name: str
    sha256: str
    tuning: NDArray[Any]
    tuning_labels: NDArray[np.int64] | None
    proof: NDArray[Any]
    proof_labels: NDArray[np.int64] | None
    classes: tuple[str, ...]

    @property
    def kind(self) -> str:
        """`image` for pixels, `features` for anything else: the manifest's words."""
        return "image" if self.tuning.dtype == np.uint8 and self.tuning.ndim == 4 else "features"

    def class_names(self, count: int) -> tuple[str, ...]:
        """The names of so many classes: their numbers where there are none."""
        return self.classes or tuple(map(str, range(count)))


def from_dataset(dataset: Dataset) -> Samples:
    """A labelled dataset: the train images to tune on, the test images for the proof."""
    return Samples(
        dataset.name,
        dataset.sha256,
        dataset.x_train,
        dataset.y_train,
        dataset.x_test,
        dataset.y_test,
        dataset.labels,
    )
