"""Readers of the operators that take places of a dimension in another order, or several times."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import BATCH, Operator
from tinsmith_export.ir.moving import Gather
from tinsmith_export.ir.ops import Concatenate, Node, Reshape


def gathered(
    reader: Reader, operator: Operator, source: Node, places: Mapping[int, NDArray[Any]]
) -> Node:
    """Adds a gathering for each dimension of which not every place is taken once, in order.

    Args:
        reader: to add it to.
        operator: whose it is.
        source: what it reads.
        places: of a dimension, the batch counted, those that are taken.
    """
    for axis, taken in places.items():
        size = (BATCH, *source.shape)[axis]
        if np.array_equal(taken, np.arange(size)):
            continue
        if axis == 0:
            raise reader.unsupported(operator, "an operator that leaves the images as they are")
        shape = list(source.shape)
        shape[axis - 1] = len(taken)
        place = reader.place(operator, [source], tuple(shape))
        indices = tuple(int(index) for index in taken)
        source = reader.add(Gather(*place, axis=axis - 1, indices=indices))
    return source


def gather(reader: Reader, operator: Operator) -> Node:
    """Places that are known."""
    if operator.inputs[0] in reader.constants:
        raise reader.unsupported(operator, "a table that is read at computed places")
    source, indices = reader.source(operator), reader.known(operator, 1)
    axis = int(np.ravel(reader.known(operator, 2))[0]) % (len(source.shape) + 1)
    if operator.settings.get("batch_dims"):
        raise reader.unsupported(operator, "the same places of every image")
    found = gathered(reader, operator, source, {axis: indices.reshape(-1)})
    if found.shape == operator.shape[1:]:
        return found
    return reader.add(Reshape(*reader.place(operator, [found])))


def mirror_pad(reader: Reader, operator: Operator) -> Node:
    """What lies around an image is its mirror image, with the edge or without."""
    source, amounts = reader.source(operator), reader.known(operator, 1).tolist()
    mode = operator.settings["mode"].decode().lower()  # as numpy calls it
    sizes = (BATCH, *source.shape)
    places = {
        axis: np.pad(np.arange(size), around, mode=mode)
        for axis, (size, around) in enumerate(zip(sizes, amounts, strict=True))
    }
    return gathered(reader, operator, source, places)


def roll(reader: Reader, operator: Operator) -> Node:
    """Places moved on, the last ones to the front."""
    source = reader.source(operator)
    shifts, axes = (np.ravel(reader.known(operator, index)).tolist() for index in (1, 2))
    for shift, axis in zip(shifts, axes, strict=True):
        over = axis % (len(source.shape) + 1)
        size = (BATCH, *source.shape)[over]
        places = {over: np.roll(np.arange(size), shift)}
        source = gathered(reader, operator, source, places)
    return source


def reverse(reader: Reader, operator: Operator) -> Node:
    """Places from the last to the first."""
    source = reader.source(operator)
    sizes = (BATCH, *source.shape)
    axes = (axis % len(sizes) for axis in np.ravel(reader.known(operator, 1)).tolist())
    return gathered(reader, operator, source, {axis: np.arange(sizes[axis])[::-1] for axis in axes})


def broadcast(reader: Reader, operator: Operator) -> Node:
    """The one place of a dimension, taken for several."""
    return spread(reader, operator, reader.source(operator), operator.shape[1:])


def spread(reader: Reader, operator: Operator, source: Node, shape: Sequence[int]) -> Node:
    """A node in a larger shape: the one place of a dimension, taken for several."""
    missing = len(shape) - len(source.shape)
    if missing < 0 or operator.shape[0] != BATCH:
        raise reader.unsupported(operator, "an operator that leaves the images as they are")
    if missing:
        place = reader.place(operator, [source], (*(1,) * missing, *source.shape))
        source = reader.add(Reshape(*place))
    places = {
        axis: np.zeros(new, np.int64)
        for axis, (old, new) in enumerate(zip(source.shape, shape, strict=True), 1)
        if old != new
    }
    return gathered(reader, operator, source, places)


def stack(reader: Reader, operator: Operator) -> Node:
    """Tensors behind each other in a dimension of their own."""
    axis = int(operator.settings["axis"]) % len(operator.shape)
    if axis == 0 or any(name in reader.constants for name in operator.inputs):
        raise reader.unsupported(operator, "a stack of computed tensors that leaves images apart")
    shape = (*operator.shape[1:axis], 1, *operator.shape[axis + 1 :])
    sources = (reader.source(operator, index) for index in range(len(operator.inputs)))
    parts = [reader.add(Reshape(*reader.place(operator, [one], shape))) for one in sources]
    return reader.add(Concatenate(*reader.place(operator, parts), axis=axis - 1))
