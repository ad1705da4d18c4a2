"""What a bundle is measured on: the test data of what `--data` names."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.box_truth import renamed_classes
from tinsmith_bench.test_set import Samples, check_samples, expected_npz, input_names
from tinsmith_data import DatasetError, load_dataset
from tinsmith_data.data import LEAST, digest
from tinsmith_data.folder import divide_images, find_images
from tinsmith_data.images import Indices, Pixels, decode_time, read_images
from tinsmith_data.npz import read_npz
from tinsmith_data.sources import DATASETS, Kind, kind_of, read_data
from tinsmith_runtime import InputError, Manifest, UsageError
from tinsmith_runtime.batch import joined, parts
from tinsmith_runtime.bundle import Training
from tinsmith_runtime.files import open_regular


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
    if kind is Kind.COCO:
        return _coco_samples(path, manifest)
    names = tuple(entry.name for entry in manifest.inputs if entry.kind != "state")
    test = read_data(source, names=names if len(names) > 1 else ()).test
    name = path.name if kind is Kind.NPY else source
    known = () if test.labels is None else (test.labels,)
    return Samples(name, digest(*parts(test.inputs), *known), test.inputs, test.labels)


def _coco_samples(path: Path, manifest: Manifest) -> Samples:
    if manifest.boxes is None or manifest.input.kind != "image":
        raise InputError(f"{path}: boxes of COCO: the bundle finds no boxes")
    shape = manifest.input.sample_shape
    data = read_data(str(path), shape=shape, preprocessing=manifest.input.preprocessing)
    boxes = renamed_classes(path, data, manifest.boxes.labels)
    inputs = data.test.inputs
    return Samples(path.resolve().stem, digest(*parts(inputs), boxes), inputs, boxes)


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
        f"arrays {input_names(manifest)}, and y where labels are known"
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

    Of images that the bundle was made with, only those for testing are taken.

    Args:
        folder: its subfolders are named like the bundle's classes.
        manifest: the bundle's: says the classes and the size of the images.

    Raises:
        InputError: there is no image in it, a subfolder is named like no class, or an image cannot
            be read.
    """
    labels = manifest.output.labels
    if len(manifest.inputs) > 1:
        raise InputError(f"{folder}: {expected_npz(manifest)}")
    if manifest.input.dtype != "uint8":
        raise InputError(f"{folder}: the bundle takes no images: name an .npz file with --data")
    images = find_images(folder)
    roots = [folder / "train", folder / "test"] if images.is_test else [folder]
    subs = [path.name for root in roots for path in root.iterdir() if path.is_dir()]
    for name in sorted(set(subs) - set(labels)) if images.classes else ():
        known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise InputError(f"{folder / name}: expected a folder named like a class: {known}")
    shape = tuple(size or 0 for size in manifest.input.shape[1:])
    preprocessing = manifest.input.preprocessing
    pixels = read_images(images, shape, preprocessing, cached=False)
    targets = np.array([labels.index(name) for name in pixels.images.classes], np.int64)
    test, sha256 = _test_part(pixels, targets, manifest.training)
    return Samples(
        name=folder.resolve().name,
        sha256=sha256,
        inputs=pixels.array[test],
        targets=targets[test] if images.classes else None,
        decode_us=decode_time(pixels.images, shape, preprocessing),
    )


def _test_part(
    pixels: Pixels, targets: NDArray[np.int64], training: Training
) -> tuple[Indices, str]:
    """The images of a folder that a bundle was not made with, and the hash that goes with them.

    Of the user's own division it is what lies in `test`. Where the bundle's seed divides the folder
    into what the bundle was made with, to the byte, it is the part for testing; else all.
    """
    every = np.arange(len(pixels.array))
    divided = bool(pixels.images.is_test)
    if divided or len(every) >= LEAST:
        train, test = divide_images(pixels, training.seed)
        x, y = pixels.array, targets
        whole = (
            digest(x[train], y[train], x[test], y[test]) if len(y) else digest(x[train], x[test])
        )
        if divided or whole == training.dataset_sha256:
            return test, whole
    known = (targets,) if len(targets) else ()
    return every, digest(pixels.array, *known)
