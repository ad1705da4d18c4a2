"""A test set, and what a bundle asks of one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.box_truth import check_boxes, class_labels
from tinsmith_data.data import class_indices
from tinsmith_runtime import InputError, Manifest
from tinsmith_runtime.batch import Array, Arrays, joined, parts, require_as_many
from tinsmith_runtime.bundle import Input, keras_outputs


@dataclass(frozen=True, eq=False)
class Samples:
    """A test set.

    Attributes:
        name: the dataset's name, the file's or the folder's.
        sha256: of its content.
        inputs: raw: `uint8 (N, H, W, C)` images, or `float32 (N, ...)` features; a tuple of these
            for several inputs.
        targets: `int64 (N,)`, the index of each image's class; `float32 (N, ...)` for values;
            boxes in the inputs' pixels, see `tinsmith_data.boxes`; `None` where they are not known.
        decode_us: median time to read and decode one file of a folder.
    """

    name: str
    sha256: str
    inputs: Arrays
    targets: NDArray[Any] | None
    decode_us: float | None = None


def input_names(manifest: Manifest) -> str:
    """The inputs of a bundle, by name."""
    return ", ".join(entry.name for entry in manifest.inputs)


def expected_npz(manifest: Manifest) -> str:
    """What is wanted of data for a bundle of several inputs."""
    return (
        f"the bundle takes {len(manifest.inputs)} inputs: name an .npz file with --data that has "
        f"an array for each: {input_names(manifest)}"
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
        raise InputError(f"{samples.name}: {expected_npz(manifest)}")
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
    targets, classes = samples.targets, len(class_labels(manifest))
    if targets is not None and manifest.boxes:
        return check_boxes(samples.name, targets, count, classes)
    if targets is None or len(keras_outputs(manifest.outputs)) > 1:
        return None
    if not classes:
        if targets.dtype.kind != "f":
            return None
        expected = (count, *keras_outputs(manifest.outputs)[0].sample_shape)
        if targets.shape != expected:
            raise InputError(f"{samples.name}: expected targets {expected}, got {targets.shape}")
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
