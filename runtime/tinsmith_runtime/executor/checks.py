"""From what a user passes to `predict` to a batch: arrays in order, each as its input wants it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.batch import require_as_many
from tinsmith_runtime.errors import InputError
from tinsmith_runtime.lazy import np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinsmith_runtime.batch import Array, Arrays
    from tinsmith_runtime.bundle import Input


def batch_checker(inputs: Sequence[Input]) -> Callable[[object], Arrays]:
    """Makes the function that checks a batch for these inputs.

    Returns:
        A function that takes an array for one input; for several a tuple or list of arrays in
        order, or a dict of them by name. It raises an `InputError` unless all of them fit.
    """
    checks = [_array_checker(entry) for entry in inputs]
    names = [entry.name for entry in inputs]
    if len(inputs) == 1:
        return partial(checks[0], "batch")

    def check(batch: object) -> Arrays:
        found = zip(checks, names, _in_order(batch, names), strict=True)
        arrays = tuple(check_one(name, array) for check_one, name, array in found)
        require_as_many("batch", arrays)
        return arrays

    return check


def _in_order(batch: object, names: list[str]) -> Sequence[object]:
    got: object = type(batch).__name__
    if isinstance(batch, dict):
        if batch.keys() == set(names):
            return [batch[name] for name in names]
        got = list(batch)
    elif isinstance(batch, tuple | list):
        if len(batch) == len(names):
            return batch
        got = f"{len(batch)} arrays"
    raise InputError(
        f"batch: expected an array for each of {', '.join(names)}: a tuple in this order, or a "
        f"dict; got {got}"
    )


def _array_checker(entry: Input) -> Callable[[str, Any], Array]:
    """Makes the function that checks an array, which its errors call by a name."""
    shape = entry.sample_shape
    check: Callable[..., Array] = _check_image
    if entry.kind != "image":
        from tinsmith_runtime.inputs.features import check_features

        ids = entry.kind == "ids" and entry.value_range
        check = partial(check_features, last=ids[1] if ids else None)

    def checked(name: str, array: Any) -> Array:
        if not isinstance(array, np.ndarray) or array.ndim != len(shape) + 1:
            got = getattr(array, "shape", type(array).__name__)
            sizes = ", ".join(map(str, shape))
            raise InputError(f"{name}: expected shape (N, {sizes}), got {got}")
        return check(name, array, (len(array), *shape))

    return checked


def _check_image(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    # Only here: images that are known to fit do without, and a start takes milliseconds.
    from tinsmith_runtime.inputs.image import check_pixels

    check_pixels(name, array, shape)
    return array
