"""Data from a function of the user's own, `module:function`.

It returns `(x_train, y_train), (x_test, y_test)`, a `Dataset`, an array, or `(x, y)`; or it
returns or yields batches: `x`, `[x]` as TensorFlow's converter wants them, or `(x, y)`. Of several
inputs, `x` is a dict of arrays by name, or a tuple in the model's order.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinsmith_data.boxes import are_boxes
from tinsmith_data.data import Data, Part, class_indices, require_as_many
from tinsmith_data.dataset import Dataset
from tinsmith_data.errors import DatasetError
from tinsmith_data.named import current_folder, import_named
from tinsmith_runtime.batch import Arrays, concatenate, count, parts
from tinsmith_runtime.errors import UsageError

_MOST = 50_000  # inputs taken of batches, which may never end


def call_function(spec: str, names: tuple[str, ...] = ()) -> Data:
    """Calls a function and takes what it returns or yields.

    Args:
        spec: `module:function`.
        names: of several inputs.

    Raises:
        DatasetError: there is no such function, it raises, or what it gives is no data.
    """
    try:
        function = import_named(spec)
    except UsageError as error:
        raise DatasetError(str(error)) from error
    try:
        with current_folder():
            returned = function()
            if isinstance(returned, Dataset) and not names:
                train = Part(returned.x_train, returned.y_train)
                test = Part(returned.x_test, returned.y_test)
                return Data(spec, test, train, returned.labels)
            if not names and _is_pair(returned) and all(map(_is_pair, returned)):
                train, test = (Part(np.asarray(x), np.asarray(y)) for x, y in returned)
                return Data(spec, test, train)
            if isinstance(returned, tuple | dict) or hasattr(returned, "__array__"):
                returned = [returned]
            batches = list(_batches(returned, names))
    except DatasetError:
        raise
    except (Exception, SystemExit) as error:
        raise DatasetError(f"`{spec}` raised {type(error).__name__}: {error}") from error
    return Data(spec, _together(spec, batches))


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _together(spec: str, batches: list[Part]) -> Part:
    if not batches:
        raise DatasetError(f"`{spec}` gave nothing: expected an array, or batches of inputs")
    for arrays in zip(*(parts(batch.inputs) for batch in batches), strict=True):
        shapes = {array.shape[1:] for array in arrays}
        if len(shapes) > 1:
            raise DatasetError(
                f"`{spec}`: its batches hold inputs of different shapes: "
                f"{', '.join(map(str, sorted(shapes)[:3]))}"
            )
    labels = [batch.labels for batch in batches if batch.labels is not None]
    if len(shapes := {one.shape[1:] for one in labels}) > 1:
        raise DatasetError(
            f"`{spec}`: its batches hold boxes of different shapes: "
            f"{', '.join(map(str, sorted(shapes)[:3]))}"
        )
    inputs = concatenate([batch.inputs for batch in batches])
    return Part(inputs, np.concatenate(labels) if len(labels) == len(batches) else None)


def _batches(returned: Iterable[Any], names: tuple[str, ...]) -> Iterator[Part]:
    """Batches, each with labels where its second part is one class a sample."""
    given = 0
    for batch in returned:
        labels, inputs = None, batch
        if names:
            if _is_pair(batch) and isinstance(batch[0], dict | tuple | list):
                inputs, labels = batch[0], np.asarray(batch[1])
            inputs = _in_order(inputs, names)
        else:
            if _is_pair(batch):
                labels = np.asarray(batch[1])
            inputs = np.asarray(batch[0] if isinstance(batch, tuple | list) else batch)
        for array in parts(inputs):
            if array.ndim < 2:
                raise DatasetError(
                    f"expected batches (N, …) of inputs, got one of shape {array.shape}"
                )
        size = count(inputs)
        if labels is not None:
            labels = class_indices(labels)
            is_class = labels.shape == (size,) and labels.dtype.kind in "iu"
            if not is_class and not are_boxes(labels):
                labels = None  # values to learn, or a second input that no one asked for
        yield Part(inputs, labels)
        given += size
        if given >= _MOST:
            return


def _in_order(batch: Any, names: tuple[str, ...]) -> Arrays:
    """A batch of several inputs, given by name or in the model's order."""
    if isinstance(batch, Mapping) and batch.keys() == set(names):
        batch = tuple(batch[name] for name in names)
    if not isinstance(batch, tuple | list) or len(batch) != len(names):
        got = type(batch).__name__
        if isinstance(batch, Mapping):
            got = f"a dict of {', '.join(map(str, batch))}"
        elif isinstance(batch, tuple | list):
            got = f"{len(batch)} arrays"
        raise DatasetError(
            f"expected batches of {len(names)} inputs, a dict by name ({', '.join(names)}) or a "
            f"tuple in that order, got {got}"
        )
    arrays = tuple(np.asarray(array) for array in batch)
    require_as_many("a batch", arrays, names)
    return arrays
