"""What a source of data holds, before anybody has asked what a model makes of it."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.errors import DatasetError
from tinsmith_runtime.batch import Arrays, parts

LEAST = 16
"""Samples that can be divided: a fifth of them must say something."""


@dataclass(frozen=True, eq=False)
class Part:
    """Samples that belong together.

    Attributes:
        inputs: `(N, …)` of any dtype; a tuple of arrays for several inputs.
        labels: as they came, or `None`.
    """

    inputs: Arrays
    labels: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Data:
    """What a source holds.

    Attributes:
        name: the dataset's, the file's or folder's, or `module:function`.
        test: what to test on; all there is, where the source does not divide it.
        train: what to train or calibrate on, or `None`.
        classes: the names of the classes, or none.
    """

    name: str
    test: Part
    train: Part | None = None
    classes: tuple[str, ...] = ()


def divide(name: str, size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides what its source does not: the same way for training and for export.

    Args:
        name: of the data.
        size: how many samples there are.
        seed: chooses the order.

    Returns:
        The indices of four fifths to train or calibrate on, and of a fifth to test on.

    Raises:
        DatasetError: there are too few.
    """
    if size < LEAST:
        raise DatasetError(
            f"{name}: expected at least {LEAST} inputs, got {size}: a few hundred are good"
        )
    test, train = np.split(np.random.default_rng(seed).permutation(size), [size // 5])
    return train, test


def digest(*arrays: NDArray[Any]) -> str:
    """64 hex digits over the shapes and bytes of arrays; the same on every machine."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape}".encode())
        found.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return found.hexdigest()


def require_as_many(name: str, inputs: Arrays, names: tuple[str, ...]) -> None:
    """Raises a `DatasetError` unless there are as many samples of each of several inputs."""
    sizes = [len(array) if array.ndim else 0 for array in parts(inputs)]
    if len(set(sizes)) > 1:
        got = ", ".join(f"{size} of {key}" for key, size in zip(names, sizes, strict=True))
        raise DatasetError(f"{name}: expected as many of each input, got {got}")


def class_indices(labels: NDArray[Any]) -> NDArray[Any]:
    """Makes one index a sample of labels that are one-hot `(N, K)` or integers `(N, 1)`.

    Returns:
        Integers `(N,)`; what is neither comes back as it is.
    """
    if labels.ndim != 2 or not len(labels):
        return labels
    if labels.shape[1] == 1:
        return labels[:, 0] if labels.dtype.kind in "iu" else labels
    one_hot = labels.dtype.kind in "biuf" and ((labels == 0) | (labels == 1)).all()
    if not one_hot or (labels.sum(axis=1) != 1).any():
        return labels
    return np.asarray(labels.argmax(axis=1))
