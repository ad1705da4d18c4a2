"""The labelled images that a bundle is measured on."""

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime import InputError, Manifest, UsageError
from tinsmith_train import load_dataset

# What numpy and zipfile raise on files that are no archive of plain arrays, or a damaged one.
_DAMAGE = (
    *(EOFError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True, eq=False)
class Samples:
    """A test set.

    Attributes:
        name: the dataset's name or the file's.
        sha256: of the dataset or of the file.
        images: `uint8 (N, H, W, C)`.
        labels: `int64 (N,)`, the index of each image's class.
    """

    name: str
    sha256: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def find_samples(
    manifest: Manifest, dataset: str | None, data: Path | None, data_dir: Path | None
) -> Samples:
    """Finds the test set that was asked for, or the one that the bundle was trained on.

    Args:
        manifest: the bundle's.
        dataset: a dataset's name.
        data: an `.npz` file, instead.
        data_dir: where the files of the dataset are.

    Raises:
        UsageError: the test set is missing, damaged, or does not fit the bundle.
    """
    if data is not None:
        return check_samples(file_samples(data), manifest)
    if dataset is not None:
        return check_samples(dataset_samples(dataset, data_dir), manifest)
    trained_on = manifest.training.dataset
    try:
        if ":" in trained_on:
            # `module:function` is code, and a bundle may come from anybody.
            raise UsageError("a bundle's word is no reason to run code")
        samples = dataset_samples(trained_on, data_dir)
    except UsageError as error:
        raise UsageError(
            f"the bundle was trained on {trained_on}, which is not at hand ({error}): "
            "name another with --dataset NAME or --data TEST.npz"
        ) from error
    return check_samples(samples, manifest)


def dataset_samples(name: str, data_dir: Path | None) -> Samples:
    """Takes the test set of a dataset that training knows.

    Raises:
        UsageError: there is no such dataset, or its files cannot be read.
    """
    dataset = load_dataset(name, data_dir)
    return Samples(dataset.name, dataset.sha256, dataset.x_test, dataset.y_test)


def file_samples(path: Path) -> Samples:
    """Reads `x_test` and `y_test` (or `x` and `y`) of an `.npz` file.

    Raises:
        UsageError: the file is missing.
        InputError: the file is damaged, or an array is missing or of the wrong kind.
    """
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            keys = ("x_test", "y_test") if "x_test" in file else ("x", "y")
            images, labels = (file[key] for key in keys)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file") from error
    except KeyError as error:
        raise InputError(f"{path}: expected arrays x_test and y_test (or x and y)") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: expected an .npz file of plain arrays: {error}") from error
    return Samples(path.name, hashlib.sha256(content).hexdigest(), images, labels)


def check_samples(samples: Samples, manifest: Manifest) -> Samples:
    """Checks that a bundle can be measured on these samples.

    Args:
        samples: what was read; images may lack the axis of a single channel.
        manifest: the bundle's.

    Returns:
        The same samples, images with four axes and labels as `int64`.

    Raises:
        InputError: images or labels do not fit the bundle, or each other.
    """
    images: NDArray[Any] = samples.images
    labels: NDArray[Any] = samples.labels
    expected, classes = manifest.input.shape[1:], len(manifest.output.labels)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise InputError(
            f"{samples.name}: the bundle takes images uint8 {expected}, "
            f"got {images.dtype} {images.shape[1:]}"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or not len(images):
        raise InputError(
            f"{samples.name}: expected one integer label for each of {len(images)} images, "
            f"got {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"{samples.name}: the bundle has labels 0 to {classes - 1}, "
            f"got {labels.min()} to {labels.max()}"
        )
    return Samples(samples.name, samples.sha256, images, labels.astype(np.int64))
