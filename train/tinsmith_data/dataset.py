"""A dataset: train and test images with integer labels or boxes, whatever it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.boxes import are_boxes, checked_boxes, largest_class
from tinsmith_data.data import Data, Part, class_indices, digest, divide
from tinsmith_data.errors import DatasetError
from tinsmith_runtime.batch import Array

_MAX_CLASSES = 100_000  # where they have no names: one wrong label would make millions of classes


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels or boxes to train on, and others to test on.

    Attributes:
        name: `mnist`, `digits`, the name of a file or folder, or `module:function`.
        x_train: `uint8 (N, H, W, C)`.
        y_train: `int64 (N,)`, indices into `labels`; or boxes, `float32 (N, …)`, see `boxes`.
        x_test: `uint8 (M, H, W, C)`.
        y_test: likewise.
        labels: the name of each class.
    """

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[Any]
    x_test: NDArray[np.uint8]
    y_test: NDArray[Any]
    labels: tuple[str, ...]

    @property
    def has_boxes(self) -> bool:
        """Whether the labels are boxes."""
        return self.y_train.ndim == 3

    @cached_property
    def sha256(self) -> str:
        """64 hex digits over the shapes and bytes of the four arrays; the same on every machine."""
        return digest(self.x_train, self.y_train, self.x_test, self.y_test)


def make_dataset(data: Data, seed: int = 0, *, divided: bool = False) -> Dataset:
    """Makes a dataset of what a source holds; without names, classes are numbered.

    Args:
        data: images with labels.
        seed: divides what its source does not; see `divide`.
        divided: refuse what its source does not divide.

    Raises:
        DatasetError: no model of images could learn from it.
    """
    name = data.name
    train, test = data.train, data.test
    if train is None:
        if divided:
            raise DatasetError(f"{name}: expected training and test data, got undivided data")
        train, test = _divided(name, test, seed)
    arrays = (*_labelled(name, "train", train), *_labelled(name, "test", test))
    return _check(name, data.classes or None, *arrays)


def _divided(name: str, whole: Part, seed: int) -> tuple[Part, Part]:
    inputs, labels = _labelled(name, "", whole)
    if not len(labels) == len(inputs):
        raise DatasetError(f"{name}: {len(labels)} labels for {len(inputs)} images")
    first, second = divide(name, len(inputs), seed)
    return Part(inputs[first], labels[first]), Part(inputs[second], labels[second])


def _labelled(name: str, key: str, part: Part) -> tuple[Array, Array]:
    """The images and labels of a part that has both."""
    if isinstance(part.inputs, tuple) or part.labels is None:
        missing = f"no y_{key}: " if key else ""
        raise DatasetError(f"{name}: {missing}expected images with labels to learn from")
    return np.atleast_1d(part.inputs), np.atleast_1d(part.labels)


def _check(
    name: str,
    labels: Sequence[object] | None,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
) -> Dataset:
    x_train, x_test = _images(name, "x_train", x_train), _images(name, "x_test", x_test)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DatasetError(
            f"{name}: x_train has images of {x_train.shape[1:]}, x_test of {x_test.shape[1:]}"
        )
    truth = [
        _truth(name, "y_train", y_train, len(x_train)),
        _truth(name, "y_test", y_test, len(x_test)),
    ]
    if truth[0].ndim != truth[1].ndim:
        raise DatasetError(f"{name}: expected labels or boxes, got one of each")
    most = [largest_class(y) if y.ndim == 3 else int(y.max()) for y in truth]
    if labels is None:
        if most[0] >= _MAX_CLASSES:
            raise DatasetError(
                f"{name}: y_train: expected labels below {_MAX_CLASSES}, got {most[0]}"
            )
        labels = range(most[0] + 1)
    names = tuple(map(str, labels))
    for key, y, high in zip(("y_train", "y_test"), truth, most, strict=True):
        low = 0 if y.ndim == 3 else int(y.min())
        if low < 0 or high >= len(names):
            raise DatasetError(
                f"{name}: {key}: expected labels 0 to {len(names) - 1}, got {low} to {high}"
            )
    return Dataset(name, x_train, truth[0], x_test, truth[1], names)


def _images(name: str, key: str, x: NDArray[Any]) -> NDArray[np.uint8]:
    if x.dtype != np.uint8:
        raise DatasetError(
            f"{name}: {key}: expected uint8 pixels, 0 to 255, got {x.dtype}: scale and cast them"
        )
    if x.ndim not in (3, 4) or x.size == 0:
        raise DatasetError(
            f"{name}: {key}: expected images (N, H, W) or (N, H, W, C), got shape {x.shape}"
        )
    return x[..., np.newaxis] if x.ndim == 3 else x


def _truth(name: str, key: str, y: NDArray[Any], images: int) -> NDArray[Any]:
    """Labels `int64 (N,)`, or boxes."""
    if are_boxes(y):
        return checked_boxes(f"{name}: {key}", y, images)
    y = class_indices(y)
    if not np.issubdtype(y.dtype, np.integer) or y.ndim != 1:
        raise DatasetError(
            f"{name}: {key}: expected integer labels (N,), got {y.dtype} of shape {y.shape}"
        )
    if len(y) != images:
        raise DatasetError(f"{name}: {key}: {len(y)} labels for {images} images")
    return y.astype(np.int64)
