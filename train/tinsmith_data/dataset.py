"""A dataset is train and test images with integer labels, whatever it came from.

| spec | source |
|---|---|
| `mnist` | IDX files in `--data-dir` or `$TINSMITH_DATA/mnist`, Keras's cache, Keras's download |
| `digits` | scikit-learn's handwritten digits in MNIST's form; needs no network |
| `FILE.npz` | `x_train`, `y_train`, `x_test`, `y_test`, and `labels` (class names) if it likes |
| `module:function` | what the function returns: `(x_train, y_train), (x_test, y_test)` |

Importing this module takes numpy alone, so that a board can measure itself on a test set.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.digits import load_digits
from tinsmith_data.errors import DatasetError
from tinsmith_data.mnist import load_mnist
from tinsmith_data.named import current_folder, import_named
from tinsmith_data.npz import class_names, read_npz
from tinsmith_runtime.errors import UsageError

_DIGITS = tuple("0123456789")
_MAX_CLASSES = 100_000  # where they have no names: one wrong label would make millions of classes
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels to train on, and others to test on.

    Attributes:
        name: `mnist`, `digits`, the stem of an `.npz` file, or `module:function`.
        x_train: `uint8 (N, H, W, C)`.
        y_train: `int64 (N,)`, indices into `labels`.
        x_test: `uint8 (M, H, W, C)`.
        y_test: `int64 (M,)`.
        labels: the name of each class.
    """

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    labels: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """64 hex digits over the shapes and bytes of the four arrays; the same on every machine."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        return digest.hexdigest()


def load_dataset(spec: str, data_dir: Path | None = None) -> Dataset:
    """Loads and checks the dataset that `spec` names.

    Args:
        spec: `mnist`, `digits`, the path of an `.npz` file, or `module:function`.
        data_dir: where MNIST's IDX files are, if not in `$TINSMITH_DATA/mnist`.

    Raises:
        DatasetError: there is no such dataset, or it is damaged, or no model could learn from it.
    """
    if spec == "mnist":
        mnist = load_mnist(data_dir)
        return _check(spec, _DIGITS, *(mnist[key] for key in _NPZ_KEYS))
    if spec == "digits":
        (x_train, y_train), (x_test, y_test) = load_digits()
        return _check(spec, _DIGITS, x_train, y_train, x_test, y_test)
    if spec.endswith(".npz"):
        return _load_npz(Path(spec))
    if ":" in spec:
        return _call(spec)
    raise DatasetError(
        f"unknown dataset `{spec}`: expected mnist, digits, a FILE.npz or module:function"
    )


def _load_npz(path: Path) -> Dataset:
    arrays = read_npz(path, _NPZ_KEYS)
    labels = class_names(path, arrays["labels"]) if "labels" in arrays else None
    return _check(path.stem, labels, *(arrays[key] for key in _NPZ_KEYS))


def _call(spec: str) -> Dataset:
    try:
        function = import_named(spec)
    except UsageError as error:
        raise DatasetError(f"dataset {error}") from error
    try:
        with current_folder():
            returned = function()
    except (Exception, SystemExit) as error:
        raise DatasetError(f"dataset `{spec}` raised {type(error).__name__}: {error}") from error
    if isinstance(returned, Dataset):
        returned = (returned.x_train, returned.y_train), (returned.x_test, returned.y_test)
    try:
        (x_train, y_train), (x_test, y_test) = returned
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"dataset `{spec}`: expected (x_train, y_train), (x_test, y_test), "
            f"got {type(returned).__name__}"
        ) from error
    return _check(spec, None, *map(np.asarray, (x_train, y_train, x_test, y_test)))


def _check(
    name: str,
    labels: Sequence[object] | None,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
) -> Dataset:
    """Makes a dataset of arrays that fit each other; without names, classes are numbered."""
    x_train, x_test = _images(name, "x_train", x_train), _images(name, "x_test", x_test)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DatasetError(
            f"{name}: x_train has images of {x_train.shape[1:]}, x_test of {x_test.shape[1:]}"
        )
    _check_labels(name, "y_train", y_train, len(x_train))
    _check_labels(name, "y_test", y_test, len(x_test))
    if labels is None:
        if y_train.max() >= _MAX_CLASSES:
            raise DatasetError(
                f"{name}: y_train: expected labels below {_MAX_CLASSES}, got {y_train.max()}"
            )
        labels = range(int(y_train.max()) + 1)
    names = tuple(map(str, labels))
    for key, y in (("y_train", y_train), ("y_test", y_test)):
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= len(names):
            raise DatasetError(
                f"{name}: {key}: expected labels 0 to {len(names) - 1}, got {low} to {high}"
            )
    return Dataset(name, x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64), names)


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


def _check_labels(name: str, key: str, y: NDArray[Any], images: int) -> None:
    if not np.issubdtype(y.dtype, np.integer) or y.ndim != 1:
        raise DatasetError(
            f"{name}: {key}: expected integer labels (N,), got {y.dtype} of shape {y.shape}"
        )
    if len(y) != images:
        raise DatasetError(f"{name}: {key}: {len(y)} labels for {images} images")
