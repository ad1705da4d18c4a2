"""What a model is compiled with: inputs to calibrate and tune on, and others to prove it on.

| `--calibration` | inputs |
|---|---|
| `FILE.npz` | one array, or `x`, or `inputs`; or `x_train` and `x_test`, split already |
| `FILE.npy` | one array |
| `FOLDER` | its PNG and JPEG files and those in its folders, fitted to the model's input |
| `mnist`, `digits` | the images of that dataset |
| `module:function` | what the function returns or yields: an array, or batches |

`uint8` of four dimensions are pixels, anything else features. Labels are never learned from: `y`
(or `y_test`) in an `.npz` file, or the second part of a batch `(x, y)`, tell the accuracy.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_runtime.image import read_image, read_npy
from tinsmith_train import Dataset, load_dataset
from tinsmith_train.named import import_named
from tinsmith_train.npz import read_npz

_IMAGES = (".jpeg", ".jpg", ".png")
_DATASETS = ("digits", "mnist")
_KEYS = ("x", "inputs")
_LEAST = 16  # inputs, of which a fifth proves the rest
_MOST = 50_000  # inputs taken from a function that may never end


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


def from_calibration(source: str, shape: tuple[int, ...], seed: int) -> Samples:
    """Reads inputs from where a user says, and keeps a fifth of them for the proof.

    Args:
        source: see the table of this module.
        shape: of the model's input, without the batch: images of a folder are fitted to it.
        seed: of the split.

    Raises:
        UsageError: there is nothing of that kind, or what is there cannot be read.
    """
    return find_calibration(source)(shape, seed)


def find_calibration(source: str) -> Callable[[tuple[int, ...], int], Samples]:
    """What will read a source; tells at once if there is none.

    Raises:
        UsageError: there is no such source.
    """
    path = Path(source)
    if source in _DATASETS:
        return lambda shape, seed: replace(from_dataset(load_dataset(source)), tuning_labels=None)
    if path.is_dir():
        return lambda shape, seed: _split(path.resolve().name, _folder(path, shape), None, seed)
    if path.suffix in (".npy", ".npz"):
        if not path.is_file():
            raise UsageError(f"--calibration: no file {path}")
        if path.suffix == ".npy":
            return lambda shape, seed: _split(path.stem, read_npy(path), None, seed, shape)
        return lambda shape, seed: _archive(path, shape, seed)
    if ":" in source:
        return lambda shape, seed: _split(source, *_function(source), seed, shape)
    raise UsageError(
        f"--calibration: there is no `{source}`: expected FILE.npz, FILE.npy, a FOLDER of images, "
        f"{', '.join(_DATASETS)} or module:function"
    )


def _archive(path: Path, shape: tuple[int, ...], seed: int) -> Samples:
    arrays = read_npz(path, ())
    classes = tuple(map(str, arrays.pop("labels", np.empty(0)).tolist()))
    if {"x_train", "x_test"} <= arrays.keys():
        tuning, proof = (_inputs(path.stem, arrays[key], shape) for key in ("x_train", "x_test"))
        labels = _labels(path.stem, arrays.get("y_test"), len(proof))
        return _samples(path.stem, tuning, proof, labels, classes)
    keys = [key for key in _KEYS if key in arrays] or [key for key in arrays if key != "y"]
    if len(keys) != 1:
        raise UsageError(
            f"{path}: expected one array, or {', '.join(_KEYS)}, or x_train and x_test; "
            f"got {', '.join(arrays) or 'none'}"
        )
    return replace(
        _split(path.stem, arrays[keys[0]], arrays.get("y"), seed, shape), classes=classes
    )


def _folder(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Every image below a folder, `uint8 (N, H, W, C)`, in the order of their paths."""
    if len(shape) != 3:
        raise UsageError(f"{folder}: the model takes inputs of shape {shape}, which are no images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not paths:
        raise UsageError(f"{folder}: expected images in it ({', '.join(_IMAGES)}), found none")
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


def _function(source: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """What a user's function returns or yields, as one array, with the labels if there are some."""
    function = import_named(source)
    try:
        returned = function()
        if isinstance(returned, tuple) or hasattr(returned, "__array__"):
            returned = [returned]
        batches = list(_batches(returned))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"`{source}` raised {type(error).__name__}: {error}") from error
    if not batches:
        raise UsageError(f"`{source}` gave nothing: expected an array, or batches of inputs")
    shapes = {inputs.shape[1:] for inputs, _ in batches}
    if len(shapes) > 1:
        raise UsageError(
            f"`{source}`: its batches hold inputs of different shapes: "
            f"{', '.join(map(str, sorted(shapes)[:3]))}"
        )
    labels = [found for _, found in batches if found is not None]
    whole = len(labels) == len(batches)
    return (
        np.concatenate([inputs for inputs, _ in batches]),
        np.concatenate(labels) if whole else None,
    )


def _batches(returned: Iterable[Any]) -> Iterable[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Batches of inputs: alone, `[x]` as TensorFlow's converter wants them, or `(x, y)`."""
    count = 0
    for batch in returned:
        labels = None
        if isinstance(batch, tuple | list):
            if len(batch) == 2:
                labels = np.asarray(batch[1])
            batch = batch[0]
        inputs = np.asarray(batch)
        if inputs.ndim < 2:
            raise UsageError(f"expected batches (N, …) of inputs, got one of shape {inputs.shape}")
        labelled = (
            labels is not None and labels.shape == (len(inputs),) and labels.dtype.kind in "iu"
        )
        yield inputs, labels if labelled else None
        count += len(inputs)
        if count >= _MOST:
            return


def _split(
    name: str,
    inputs: NDArray[Any],
    labels: NDArray[Any] | None,
    seed: int,
    shape: tuple[int, ...] | None = None,
) -> Samples:
    """Four fifths to tune on and one to prove on, in an order that the seed chooses."""
    inputs = _inputs(name, inputs, shape)
    if len(inputs) < _LEAST:
        raise UsageError(
            f"{name}: expected at least {_LEAST} inputs, got {len(inputs)}: a few hundred are good"
        )
    labels = _labels(name, labels, len(inputs))
    order = np.random.default_rng(seed).permutation(len(inputs))
    proof, tuning = np.split(order, [len(order) // 5])
    chosen = None if labels is None else labels[proof]
    return _samples(name, inputs[tuning], inputs[proof], chosen, ())


def _samples(
    name: str,
    tuning: NDArray[Any],
    proof: NDArray[Any],
    labels: NDArray[np.int64] | None,
    classes: tuple[str, ...],
) -> Samples:
    digest = hashlib.sha256()
    for array in (tuning, proof, *([] if labels is None else [labels])):
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return Samples(name, digest.hexdigest(), tuning, None, proof, labels, classes)


def _inputs(name: str, inputs: NDArray[Any], shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Pixels as `uint8`, features as `float32`; grey images get their one channel."""
    if inputs.dtype.kind != "f" and inputs.dtype != np.uint8:
        raise UsageError(
            f"{name}: expected uint8 pixels or float features, got {inputs.dtype}: cast them, "
            "with x.astype('uint8') or x.astype('float32')"
        )
    if shape is not None and inputs.shape[1:] == shape[:-1] and shape[-1:] == (1,):
        inputs = inputs[..., np.newaxis]
    pixels = inputs.dtype == np.uint8 and inputs.ndim == 4
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.asarray(inputs) if pixels else inputs.astype(np.float32)


def _labels(name: str, labels: NDArray[Any] | None, count: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise UsageError(
            f"{name}: expected integer labels ({count},), got {labels.dtype} of shape "
            f"{labels.shape}: leave them out where the model does not classify"
        )
    return labels.reshape(-1).astype(np.int64)
