"""What a bundle is measured on: the test data of what `--data` names."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data import DatasetError, load_dataset
from tinsmith_data.data import class_indices
from tinsmith_data.folder import find_images, read_images
from tinsmith_data.npz import read_npz
from tinsmith_data.sources import DATASETS, Kind, kind_of, read_data
from tinsmith_runtime import InputError, Manifest, UsageError
from tinsmith_runtime.batch import Array, Arrays, joined, parts, require_as_many
from tinsmith_runtime.bundle import Input
from tinsmith_runtime.files import open_regular, read_regular
from tinsmith_runtime.inputs.image import MAX_FILE_BYTES


@dataclass(frozen=True, eq=False)
class Samples:
    """A test set.

    Attributes:
        name: the dataset's name, the file's or the folder's.
        sha256: of its content.
        inputs: raw: `uint8 (N, H, W, C)` images, or `float32 (N, ...)` features; a tuple of these
            for several inputs.
        targets: `int64 (N,)`, the index of each image's class; `float32 (N, ...)` for values;
            `None` where they are not known.
        decode_us: median time to read and decode one file of a folder.
    """

    name: str
    sha256: str
    inputs: Arrays
    targets: NDArray[Any] | None
    decode_us: float | None = None


def find_samples(
    manifests: Sequence[Manifest],
    dataset: str | None,
    data: str | Path | None,
    data_dir: Path | None,
) -> Samples:
    """Finds the test set that was asked for, or the one that the first bundle was trained on.

    Args:
        manifests: the bundles'.
        dataset: a dataset's name, and nothing else.
        data: a dataset's name, a folder of images, an `.npz` or `.npy` file, or `module:function`,
            instead.
        data_dir: where the files of the dataset are.

    Raises:
        UsageError: the test set is missing, damaged, or does not fit a bundle.
    """
    if data is not None:
        samples = _named_samples(str(data), manifests[0])
    elif dataset is not None:
        samples = dataset_samples(dataset, data_dir)
    else:
        samples = _own_samples(manifests[0], data_dir)
    for manifest in manifests:
        samples = check_samples(samples, manifest)
    return samples


def _named_samples(source: str, manifest: Manifest) -> Samples:
    kind, path = kind_of(source), Path(source)
    if kind is Kind.NPZ:
        return file_samples(path, manifest)
    if kind is Kind.FOLDER:
        return folder_samples(path, manifest)
    if kind is Kind.DATASET:
        return dataset_samples(source, None)
    names = tuple(entry.name for entry in manifest.inputs if entry.kind != "state")
    test = read_data(source, names=names if len(names) > 1 else ()).test
    name = path.name if kind is Kind.NPY else source
    known = () if test.labels is None else (test.labels,)
    return Samples(name, _digest(*parts(test.inputs), *known), test.inputs, test.labels)


def _digest(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _own_samples(manifest: Manifest, data_dir: Path | None) -> Samples:
    trained_on = manifest.training.dataset
    try:
        if trained_on not in DATASETS:
            # What else it names, a bundle from anybody has no business to have read or run.
            raise UsageError("a bundle's word is no reason to run code or to read files")
        return dataset_samples(trained_on, data_dir)
    except UsageError as error:
        raise UsageError(
            f"the bundle was trained on {trained_on}: name data with --data ({error})"
        ) from error


def dataset_samples(name: str, data_dir: Path | None) -> Samples:
    """Takes the test set of a dataset that training knows.

    Raises:
        UsageError: there is no such dataset, or its files cannot be read.
    """
    dataset = load_dataset(name, data_dir)
    return Samples(dataset.name, dataset.sha256, dataset.x_test, dataset.y_test)


def file_samples(path: Path, manifest: Manifest) -> Samples:
    """Reads `x_test` and, where it is there, `y_test` (or `x` and `y`) of an `.npz` file.

    Args:
        path: the file's.
        manifest: the bundle's: of several inputs, each is an array of its name.

    Raises:
        DatasetError: the file is missing or damaged, or an array is missing.
    """
    several = len(manifest.inputs) - len(manifest.states) > 1
    expected = (
        f"arrays {_names(manifest)}, and y where labels are known"
        if several
        else "an array x_test or x, and y_test or y where labels are known"
    )

    def choose(keys: list[str]) -> list[str]:
        name = "x_test" if "x_test" in keys else "x"
        names = [entry.name for entry in manifest.inputs] if several else [name]
        if not set(names) <= set(keys):
            raise DatasetError(f"{path}: expected {expected}")
        target = "y_test" if names == ["x_test"] else "y"
        return [*names, target] if target in keys else names

    arrays = read_npz(path, choose)
    found = list(arrays.values())
    count = len(manifest.inputs) if several else 1
    targets = found[count] if len(found) > count else None
    return Samples(path.name, _file_digest(path), joined(found[:count]), targets)


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def folder_samples(folder: Path, manifest: Manifest) -> Samples:
    """Reads `folder/CLASS/*.png` (or `.jpg`, `.npy`), or without labels `folder/*.png`.

    Args:
        folder: its subfolders are named like the bundle's classes.
        manifest: the bundle's: says the classes and the size of the images.

    Raises:
        InputError: there is no image in it, a subfolder is named like no class, or an image cannot
            be read.
    """
    labels = manifest.output.labels
    if len(manifest.inputs) > 1:
        raise InputError(f"{folder}: {_expected_npz(manifest)}")
    if manifest.input.dtype != "uint8":
        raise InputError(f"{folder}: the bundle takes no images: name an .npz file with --data")
    images = find_images(folder)
    subs = [path.name for path in folder.iterdir() if path.is_dir()] if images.classes else []
    for name in sorted(set(subs) - set(labels)):
        known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise InputError(f"{folder / name}: expected a folder named like a class: {known}")
    shape = tuple(size or 0 for size in manifest.input.shape[1:])
    pixels = read_images(images, shape, manifest.input.preprocessing)
    digest = hashlib.sha256()
    for path in images.paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(read_regular(path, MAX_FILE_BYTES)).digest())
    targets = np.array([labels.index(name) for name in images.classes], np.int64)
    return Samples(
        name=folder.resolve().name,
        sha256=digest.hexdigest(),
        inputs=pixels.array,
        targets=targets if images.classes else None,
        decode_us=pixels.decode_us,
    )


def _names(manifest: Manifest) -> str:
    return ", ".join(entry.name for entry in manifest.inputs)


def _expected_npz(manifest: Manifest) -> str:
    return (
        f"the bundle takes {len(manifest.inputs)} inputs: name an .npz file with --data that has "
        f"an array for each: {_names(manifest)}"
    )


def check_samples(samples: Samples, manifest: Manifest) -> Samples:
    """Checks that a bundle can be measured on these samples.

    Args:
        samples: what was read; images may lack the axis of a single channel.
        manifest: the bundle's.

    Returns:
        The same samples, images with four axes, class labels as `int64`, values as `float32`.
        Targets that mean nothing to the bundle, like the labels of an autoencoder's images or of
        a model with several outputs, are left out.

    Raises:
        InputError: inputs or targets do not fit the bundle, or each other.
    """
    found, entries = _steps(parts(samples.inputs), manifest), manifest.inputs
    if len(found) != len(entries):
        raise InputError(f"{samples.name}: {_expected_npz(manifest)}")
    pairs = zip(found, entries, strict=True)
    arrays = [_check_input(samples.name, array, entry, len(entries) > 1) for array, entry in pairs]
    if not all(map(len, arrays)):
        raise InputError(f"{samples.name}: expected at least one sample, got none")
    require_as_many(samples.name, arrays)
    targets = _check_targets(samples, len(arrays[0]), manifest)
    return replace(samples, inputs=joined(arrays), targets=targets)


def _steps(found: tuple[Array, ...], manifest: Manifest) -> tuple[Array, ...]:
    """What a bundle of steps takes: those of sequences `(N, T, …)`, each with states of zero."""
    step = manifest.input.sample_shape
    if not manifest.states or len(found) != 1 or found[0].shape[2:] != step:
        return found
    steps = found[0].reshape(-1, *step)
    states = (np.zeros((len(steps), *one.sample_shape), np.float32) for one in manifest.states)
    return steps, *states


def _check_input(name: str, inputs: Array, entry: Input, several: bool) -> Array:
    expected = entry.sample_shape
    if inputs.ndim == len(expected) and inputs.dtype == np.uint8 and expected[-1] == 1:
        inputs = inputs[..., np.newaxis]
    if inputs.dtype == np.float64 and entry.dtype == "float32":
        inputs = inputs.astype(np.float32)
    if inputs.dtype.kind in "iu" and entry.dtype == "int32":
        inputs = inputs.astype(np.int32)
    if inputs.dtype != entry.dtype or inputs.shape[1:] != expected:
        kind = "images" if entry.dtype == "uint8" else entry.kind
        where = f"{name}: {entry.name}" if several else name
        raise InputError(
            f"{where}: the bundle takes {kind} {entry.dtype} {expected}, "
            f"got {inputs.dtype} {inputs.shape[1:]}"
        )
    return inputs


def _check_targets(samples: Samples, count: int, manifest: Manifest) -> NDArray[Any] | None:
    targets, classes = samples.targets, len(manifest.output.labels)
    if targets is None or len(manifest.outputs) > 1:
        return None
    if not classes:
        if targets.dtype.kind != "f":
            return None
        if targets.shape != (count, *manifest.output.shape[1:]):
            raise InputError(
                f"{samples.name}: expected targets {(count, *manifest.output.shape[1:])}, "
                f"got {targets.shape}"
            )
        return targets.astype(np.float32)
    targets = class_indices(targets)
    if targets.shape != (count,) or targets.dtype.kind not in "iu":
        raise InputError(
            f"{samples.name}: expected one integer label for each of {count} images, "
            f"got {targets.dtype} {targets.shape}"
        )
    if targets.min() < 0 or targets.max() >= classes:
        raise InputError(
            f"{samples.name}: the bundle has labels 0 to {classes - 1}, "
            f"got {targets.min()} to {targets.max()}"
        )
    return targets.astype(np.int64)
