"""Calibration and evaluation data from where a user says: what `--data` names.

| the source gives | calibration data | evaluation data |
|---|---|---|
| training and test data, a folder | the training data, its labels | the test data, its labels |
| other undivided data | four fifths, without labels | a fifth and its labels |

`uint8` of four dimensions are pixels, anything else features. Labels may be missing. Fine-tuning
learns from those of calibration data; those of evaluation data tell the accuracy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from tinsmith_data.data import Data, Part
from tinsmith_data.dataset import make_dataset
from tinsmith_data.sources import Kind, kind_of, read_data
from tinsmith_export.inputs.samples import (
    Samples,
    checked,
    checked_labels,
    from_dataset,
    made,
    split,
)
from tinsmith_runtime.batch import count
from tinsmith_runtime.bundle import Preprocessing

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Mapping[str, Shape]


@dataclass(frozen=True)
class Source:
    """Where to find data.

    Attributes:
        place: a dataset, a folder, a file or `module:function`, as `--data`.
        learn_labels: whether the labels of calibration data are learned from, and the folders of
            images are classes.
    """

    place: str
    learn_labels: bool = True


def from_calibration(source: str, shape: Shape | Shapes, seed: int) -> Samples:
    """Reads inputs from where a user says, without labels to learn from; see `from_source`."""
    return from_source(Source(source, learn_labels=False), shape, seed)


def from_source(
    source: Source,
    shape: Shape | Shapes,
    seed: int,
    outputs: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Samples:
    """Reads calibration and evaluation data; see the table of this module.

    Args:
        source: where they are.
        shape: of the model's input, without the batch: images of a folder are fitted to it. Of
            several inputs, name to shape, in the model's order.
        seed: divides what the source does not.
        outputs: how many values the model gives, if it gives one vector: as many folders of images
            are its classes, in alphabetical order.
        preprocessing: how images of a folder are fitted.

    Raises:
        UsageError: there is nothing of that kind, or what is there cannot be read.
    """
    several = isinstance(shape, Mapping)
    shapes = tuple(shape.values()) if isinstance(shape, Mapping) else (shape,)
    names = tuple(shape) if isinstance(shape, Mapping) else ()
    kind = kind_of(source.place)
    data = read_data(
        source.place,
        shape=None if several else shapes[0],
        names=names,
        preprocessing=preprocessing,
        seed=seed,
    )
    classes = len(data.classes) == outputs and source.learn_labels
    if kind is Kind.FOLDER and data.train is not None and not classes:
        test, train = (replace(part, labels=None) for part in (data.test, data.train))
        data = Data(data.name, test, train)
    if data.train is None:
        found = split(data.name, data.test.inputs, data.test.labels, seed, shapes)
        return replace(found, classes=data.classes)
    if _is_dataset(data, shapes[0]) and (source.learn_labels or kind is Kind.DATASET):
        samples = from_dataset(make_dataset(data))
        return samples if source.learn_labels else replace(samples, calibration_labels=None)
    return _divided(data, data.train, shapes, source.learn_labels)


def _is_dataset(data: Data, shape: Shape) -> bool:
    """Whether these are the labelled images that `tinsmith train` takes, for this model."""
    if data.train is None or data.train.labels is None or data.test.labels is None:
        return False
    inputs = data.train.inputs
    if isinstance(inputs, tuple) or inputs.dtype != "uint8":
        return False
    return inputs.ndim == 4 or (*inputs.shape[1:], 1) == shape


def _divided(data: Data, train: Part, shapes: tuple[Shape, ...], learn: bool) -> Samples:
    """Samples of data that its source divides."""
    calibration, evaluation = (
        checked(data.name, part.inputs, shapes) for part in (train, data.test)
    )
    labels = checked_labels(data.name, data.test.labels, count(evaluation))
    learned = checked_labels(data.name, train.labels, count(calibration)) if learn else None
    return made(data.name, calibration, evaluation, labels, data.classes, learned)
