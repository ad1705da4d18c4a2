"""`run`: what a bundle makes of files."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING

import numpy as np

from tinsmith_runtime import Detection, Model, Prediction, load
from tinsmith_runtime.answers import rank
from tinsmith_runtime.batch import each
from tinsmith_runtime.inputs.samples import Sample, find_samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tinsmith_runtime.batch import Array


@dataclass(frozen=True)
class Answer:
    """What a model said of one input.

    Attributes:
        name: the file, with the line or row where it holds several inputs.
        predictions: the classes, the most probable first; empty if the model is no classifier.
        detections: what a detector found, the most probable first.
        outputs: by name, float32 without the batch: probabilities, or values; not of a detector.
    """

    name: str
    predictions: tuple[Prediction, ...]
    detections: tuple[Detection, ...]
    outputs: dict[str, Array]


def run(
    bundle: str | Path,
    *inputs: str | PathLike[str],
    backend: str = "auto",
    threads: int = 1,
    top: int | None = None,
) -> Iterator[Answer]:
    """Runs a bundle on files, one after the other.

    Args:
        bundle: a `.tin` file or a folder of the same content.
        inputs: PNG, JPEG, `.npy`, `.csv` or `.npz` files, folders or globs, as `tinsmith run`.
        backend: as `load`, like `threads` and the errors besides.
        threads: of the engine.
        top: how many classes or boxes an answer holds; one class, all boxes, if `None`.

    Raises:
        InputError: a file cannot be read, or does not fit the model; at its turn.
    """
    with load(bundle, backend, threads) as model:
        for sample in find_samples([fspath(word) for word in inputs], model.inputs):
            yield _answer(model, sample, top)


def _answer(model: Model, sample: Sample, top: int | None) -> Answer:
    if model.manifest.boxes and sample.picture is not None:
        return Answer(sample.name, (), tuple(model.detect(sample.picture)[:top]), {})
    found = model.predict(each(lambda array: array[np.newaxis], sample.read()))
    if isinstance(found, dict):
        return Answer(sample.name, (), (), {name: values[0] for name, values in found.items()})
    logits = model.output.kind == "logits"
    classes = rank(found[0].tolist(), model.labels, top or 1) if logits else ()
    return Answer(sample.name, tuple(classes), (), {model.output.name: found[0]})
