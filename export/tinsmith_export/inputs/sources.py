"""Where calibration inputs come from: what `--calibration` names.

| `--calibration` | inputs |
|---|---|
| `FILE.npz` | one array, or `x`, or `inputs`; or `x_train` and `x_test`, split already |
| `FILE.npy` | one array |
| `FOLDER` | its PNG and JPEG files and those in its folders, fitted to the model's input |
| `mnist`, `digits` | the images of that dataset |
| `module:function` | what the function returns or yields: an array, or batches |

`uint8` of four dimensions are pixels, anything else features. Labels are never learned from: `y`
(or `y_test`) in an `.npz` file, or the second part of a batch `(x, y)`, tell the accuracy.

For a model of several inputs an `.npz` file holds an array for each, by the Keras input's name, and
a function's batches are dicts of arrays by name, or tuples in the model's order.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinsmith_data import load_dataset
from tinsmith_data.named import current_folder, import_named
from tinsmith_data.npz import MAX_BYTES, class_names, read_npz
from tinsmith_export.inputs.samples import (
    Samples,
    checked,
    checked_labels,
    from_dataset,
    made,
    split,
)
from tinsmith_runtime.batch import Arrays, concatenate, count, joined, parts
from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_runtime.inputs.image import read_image
from tinsmith_runtime.npy import read_npy

_IMAGES = (".jpeg", ".jpg", ".png")
_DATASETS = ("digits", "mnist")
_KEYS = ("x", "inputs")
_MOST = 50_000  # inputs taken from a function that may never end

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Mapping[str, Shape]
Labels: TypeAlias = NDArray[Any] | None


def from_calibration(source: str, shape: Shape | Shapes, seed: int) -> Samples:
    """Reads inputs from where a user says, and keeps a fifth of them for the proof.

    Args:
        source: see the table of this module.
        shape: of the model's input, without the batch: images of a folder are fitted to it. Of
            several inputs, name to shape, in the model's order.
        seed: of the split.

    Raises:
        UsageError: there is nothing of that kind, or what is there cannot be read.
    """
    if isinstance(shape, Mapping):
        return _several(source, shape, seed)
    return find_calibration(source)(shape, seed)


def _several(source: str, shapes: Shapes, seed: int) -> Samples:
    """Inputs for a model that has several."""
    find_calibration(source)
    path, names = Path(source), ", ".join(shapes)
    labels: Labels
    if path.suffix == ".npz":
        arrays = read_npz(path, ())
        missing = [name for name in shapes if name not in arrays]
        if missing:
            raise UsageError(
                f"{path}: expected an array for each input of the model ({names}), no "
                f"{', '.join(missing)}; got {', '.join(arrays) or 'none'}"
            )
        inputs = joined([arrays.pop(name) for name in shapes])
        name, labels = path.stem, arrays.get("y")
        classes = class_names(path, arrays.get("labels", np.empty(0)))
        _require_as_many(name, inputs, shapes)
    elif ":" in source and not path.is_dir():
        (inputs, labels), name, classes = _function(source, tuple(shapes)), source, ()
    else:
        raise UsageError(
            f"--calibration {source} gives one input, the model has {len(shapes)} ({names}): give "
            "FILE.npz with an array for each, or module:function"
        )
    found = split(name, inputs, labels, seed, tuple(shapes.values()))
    return replace(found, classes=classes)


def _require_as_many(name: str, inputs: Arrays, shapes: Iterable[str]) -> None:
    counts = [len(array) if array.ndim else 0 for array in parts(inputs)]
    if len(set(counts)) > 1:
        said = ", ".join(f"{n} of {key}" for key, n in zip(shapes, counts, strict=True))
        raise UsageError(f"{name}: expected as many of each input, got {said}")


def find_calibration(source: str) -> Callable[[Shape, int], Samples]:
    """What will read a source; tells at once if there is none.

    Raises:
        UsageError: there is no such source.
    """
    path = Path(source)
    if source in _DATASETS:
        return lambda shape, seed: replace(from_dataset(load_dataset(source)), tuning_labels=None)
    if path.is_dir():
        return lambda shape, seed: split(path.resolve().name, _folder(path, shape), None, seed)
    if path.suffix in (".npy", ".npz"):
        if not path.is_file():
            raise UsageError(f"--calibration: no file {path}")
        if path.suffix == ".npy":
            return lambda shape, seed: split(path.stem, read_npy(path), None, seed, (shape,))
        return lambda shape, seed: _archive(path, shape, seed)
    if ":" in source:
        return lambda shape, seed: split(source, *_function(source), seed, (shape,))
    raise UsageError(
        f"--calibration: there is no `{source}`: expected FILE.npz, FILE.npy, a FOLDER of images, "
        f"{', '.join(_DATASETS)} or module:function"
    )


def _archive(path: Path, shape: Shape, seed: int) -> Samples:
    arrays = read_npz(path, ())
    classes = class_names(path, arrays.pop("labels", np.empty(0)))
    if {"x_train", "x_test"} <= arrays.keys():
        tuning, proof = (checked(path.stem, arrays[key], (shape,)) for key in ("x_train", "x_test"))
        labels = checked_labels(path.stem, arrays.get("y_test"), len(proof))
        return made(path.stem, tuning, proof, labels, classes)
    keys = [key for key in _KEYS if key in arrays] or [key for key in arrays if key != "y"]
    if len(keys) != 1:
        raise UsageError(
            f"{path}: expected one array, or {', '.join(_KEYS)}, or x_train and x_test; "
            f"got {', '.join(arrays) or 'none'}"
        )
    return replace(
        split(path.stem, arrays[keys[0]], arrays.get("y"), seed, (shape,)), classes=classes
    )


def _folder(folder: Path, shape: Shape) -> NDArray[np.uint8]:
    """Every image below a folder, `uint8 (N, H, W, C)`, in the order of their paths."""
    if len(shape) != 3:
        raise UsageError(f"{folder}: the model takes inputs of shape {shape}, which are no images")
    try:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    except (OSError, RecursionError) as error:
        raise UsageError(f"{folder}: its folders cannot be read: {error}") from error
    if not paths:
        raise UsageError(f"{folder}: expected images in it ({', '.join(_IMAGES)}), found none")
    if len(paths) * math.prod(shape) > MAX_BYTES:
        raise UsageError(
            f"{folder}: expected at most {MAX_BYTES // math.prod(shape):,} images of {shape}, "
            f"found {len(paths):,}: a few hundred are good"
        )
    images, broken = [], []
    for path in paths:
        try:
            images.append(read_image(path, shape))
        except TinsmithError as error:
            broken.append(str(error))
    if broken:
        more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise UsageError(
            f"{len(broken)} of {len(paths)} images cannot be read, take them out: "
            f"{'; '.join(broken[:3])}{more}"
        )
    return np.stack(images)


def _function(source: str, names: tuple[str, ...] = ()) -> tuple[Arrays, Labels]:
    """What a user's function returns or yields, as one batch, with the labels if there are some.

    Args:
        source: `module:function`.
        names: of several inputs.
    """
    function = import_named(source)
    try:
        with current_folder():
            returned = function()
            if isinstance(returned, tuple | dict) or hasattr(returned, "__array__"):
                returned = [returned]
            batches = list(_batches(returned, names))
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"`{source}` raised {type(error).__name__}: {error}") from error
    if not batches:
        raise UsageError(f"`{source}` gave nothing: expected an array, or batches of inputs")
    for place in range(len(names) or 1):
        shapes = {parts(inputs)[place].shape[1:] for inputs, _ in batches}
        if len(shapes) > 1:
            raise UsageError(
                f"`{source}`: its batches hold inputs of different shapes: "
                f"{', '.join(map(str, sorted(shapes)[:3]))}"
            )
    labels = [found for _, found in batches if found is not None]
    whole = len(labels) == len(batches)
    return concatenate([inputs for inputs, _ in batches]), np.concatenate(labels) if whole else None


def _batches(returned: Iterable[Any], names: tuple[str, ...]) -> Iterable[tuple[Arrays, Labels]]:
    """Batches of inputs: alone, `[x]` as TensorFlow's converter wants them, or `(x, y)`."""
    given = 0
    for batch in returned:
        labels, inputs = None, batch
        pair = isinstance(batch, tuple | list) and len(batch) == 2
        if names:
            if pair and isinstance(batch[0], dict | tuple | list):
                inputs, labels = batch[0], np.asarray(batch[1])
            inputs = _in_order(inputs, names)
        else:
            if pair:
                labels = np.asarray(batch[1])
            inputs = np.asarray(batch[0] if isinstance(batch, tuple | list) else batch)
        for array in parts(inputs):
            if array.ndim < 2:
                raise UsageError(
                    f"expected batches (N, …) of inputs, got one of shape {array.shape}"
                )
        size = count(inputs)
        labelled = labels is not None and labels.shape == (size,) and labels.dtype.kind in "iu"
        yield inputs, labels if labelled else None
        given += size
        if given >= _MOST:
            return


def _in_order(batch: Any, names: tuple[str, ...]) -> Arrays:
    """A batch of several inputs, given by name or in the model's order."""
    if isinstance(batch, Mapping) and batch.keys() == set(names):
        batch = tuple(batch[name] for name in names)
    if not isinstance(batch, tuple | list) or len(batch) != len(names):
        got = (
            f"a dict of {', '.join(map(str, batch))}"
            if isinstance(batch, Mapping)
            else (
                f"{len(batch)} arrays" if isinstance(batch, tuple | list) else type(batch).__name__
            )
        )
        raise UsageError(
            f"expected batches of {len(names)} inputs, a dict by name ({', '.join(names)}) or a "
            f"tuple in that order, got {got}"
        )
    arrays = tuple(np.asarray(array) for array in batch)
    _require_as_many("a batch", arrays, names)
    return arrays
