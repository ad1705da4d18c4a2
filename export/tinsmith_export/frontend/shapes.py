"""Readers of the operators that pool, join, cut and move images."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.frontend.arithmetic import affine
from tinsmith_export.frontend.gathering import gathered
from tinsmith_export.frontend.moving import over_last
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import BATCH, Operator
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.ops import (
    Affine,
    AveragePooling2D,
    Concatenate,
    Dense,
    MaxPooling2D,
    Node,
    Reshape,
    UpSampling2D,
    ZeroPadding2D,
)
from tinsmith_export.ir.unrewritten import SpaceToBatch

Pooling = type[MaxPooling2D | AveragePooling2D]


def pool(kind: Pooling) -> Callable[[Reader, Operator], Node]:
    """Gives the reader of a pooling of that kind."""

    def read(reader: Reader, operator: Operator) -> Node:
        reader.image(operator)
        size, strides = (
            (int(sizes[1]), int(sizes[2]))
            for sizes in (operator.settings["ksize"], operator.settings["strides"])
        )
        padding = operator.settings["padding"].decode().lower()
        return reader.add(
            kind(*reader.place(operator), pool_size=size, strides=strides, padding=padding)
        )

    return read


def reduce(reader: Reader, operator: Operator) -> Node:
    """A mean, a sum, a maximum or a minimum over any dimensions of each image."""
    source, axes = reader.source(operator), reader.known(operator, 1)
    if operator.kind == "Min":  # -max(-x)
        source = affine(reader, operator, source, factor=-1.0, shape=source.shape)
    rank = len(source.shape)
    over = sorted({int(axis) % (rank + 1) - 1 for axis in np.ravel(axes)})
    if -1 in over or not over:
        raise reader.unsupported(operator, f"{operator.kind} that leaves the images apart")
    kept = [axis for axis in range(rank) if axis not in over]
    node, count = source, int(np.prod([source.shape[axis] for axis in over]))
    if over == [rank - 1] and operator.kind not in ("Max", "Min"):
        kernel = np.full((source.shape[-1], 1), 1 / count, np.float32)
        place = reader.place(operator, [node], (*source.shape[:-1], 1))
        node = reader.add(Dense(*place, kernel=kernel))
    else:
        node = _pooled(reader, operator, source, (*over, *kept), len(over))
    if operator.kind == "Sum":
        factor, offset = np.float32(count), np.float32(0)
        place = reader.place(operator, [node], node.shape)
        node = reader.add(Affine(*place, factor=np.asarray(factor), offset=np.asarray(offset)))
    if operator.kind == "Min":
        node = affine(reader, operator, node, factor=-1.0, shape=node.shape)
    if operator.shape[1:] == node.shape:
        return node
    return reader.add(Reshape(*reader.place(operator, [node])))


def _pooled(
    reader: Reader, operator: Operator, node: Node, order: tuple[int, ...], count: int
) -> Node:
    """Pools over the first `count` dimensions of an order: as rows and columns of an image."""
    shape = tuple(node.shape[axis] for axis in order)
    if order != tuple(range(len(order))):
        place = reader.place(operator, [node], shape)
        node = reader.add(Transpose(*place, permutation=order), inner=True)
    image = (
        shape if (count, len(shape)) == (2, 3) else (1, prod(shape[:count]), prod(shape[count:]))
    )
    if image != shape:
        node = reader.add(Reshape(*reader.place(operator, [node], image)))
    kind: Pooling = MaxPooling2D if operator.kind in ("Max", "Min") else AveragePooling2D
    size = image[0], image[1]
    place = reader.place(operator, [node], (1, 1, image[2]))
    return reader.add(kind(*place, pool_size=size, strides=size, padding="valid"))


def concatenate(reader: Reader, operator: Operator) -> Node:
    """A concatenation along any dimension but the batch; constants come of a computed tensor."""
    *tensors, place = operator.inputs
    axis = int(np.ravel(reader.constants[place])[0]) % len(operator.shape)
    if axis == 0:
        raise reader.unsupported(operator, "a concatenation that leaves the images apart")
    computed = next(i for i, name in enumerate(tensors) if name not in reader.constants)
    first = reader.source(operator, computed)
    sources = [
        reader.source(operator, index)
        if (values := reader.constant(operator, index)) is None
        else _constant(reader, operator, first, axis, values)
        for index in range(len(tensors))
    ]
    if len(sources) == 1:
        return sources[0]
    return reader.add(Concatenate(*reader.place(operator, sources), axis=axis - 1))


def _constant(
    reader: Reader, operator: Operator, source: Node, axis: int, values: NDArray[Any]
) -> Node:
    """Numbers that are the same for every image: places of a tensor, times 0, and they added."""
    if not np.array_equal(values[:1].repeat(BATCH, 0), values):
        raise reader.unsupported(operator, "a constant that is the same for every image")
    places = {axis: np.zeros(values.shape[axis], np.int64)}
    part = gathered(reader, operator, source, places)
    return affine(reader, operator, part, 0.0, values[0], part.shape)


def pad(reader: Reader, operator: Operator) -> Node:
    """A number before and after the dimensions of an image, a sequence or a vector.

    Another number than zero is zero of what it is less.
    """
    source, amounts = reader.source(operator), reader.known(operator, 1).tolist()
    missing, value = 3 - len(source.shape), 0.0
    if missing < 0 or amounts[0] != [0, 0]:
        raise reader.unsupported(operator, "a padding of images, sequences or vectors")
    if len(operator.inputs) > 2:
        value = float(np.reshape(reader.known(operator, 2), ()))
    if value:
        source = affine(reader, operator, source, offset=-value, shape=source.shape)
    if missing:
        shape = (*(1,) * missing, *source.shape)
        source = reader.add(Reshape(*reader.place(operator, [source], shape)))
    around = [[0, 0]] * missing + amounts[1:]
    padded = [axis for axis in range(3) if any(around[axis])]
    for axes in (padded[:2], padded[2:]):
        if axes:
            these = [pair if axis in axes else [0, 0] for axis, pair in enumerate(around)]
            source = _padded(reader, operator, source, these)
    if missing:
        source = reader.add(Reshape(*reader.place(operator, [source])))
    return affine(reader, operator, source, offset=value) if value else source


def _padded(reader: Reader, operator: Operator, source: Node, around: list[list[int]]) -> Node:
    """Zeros around two dimensions of an image at most."""
    whole = max(axis for axis in range(3) if around[axis] == [0, 0])
    (top, bottom), (left, right) = (around[axis] for axis in range(3) if axis != whole)

    def pad_image(image: Node) -> Node:
        rows, columns, channels = image.shape
        shape = (rows + top + bottom, columns + left + right, channels)
        place, padding = reader.place(operator, [image], shape), ((top, bottom), (left, right))
        return reader.add(ZeroPadding2D(*place, padding=padding))

    return over_last(reader, operator, source, whole, pad_image)


def reshape(reader: Reader, operator: Operator) -> Node:
    """A new shape of each image; layers that look at the last dimension alone see no other."""
    source, shape = reader.source(operator), operator.shape
    read = [source, *(reader.nodes[name] for name in source.inputs)]
    if any(isinstance(node, SpaceToBatch) for node in read):
        return source  # within a dilated convolution of a sequence
    if shape[0] == BATCH and np.prod(shape[1:]) == np.prod(source.shape):
        if shape[1:] == source.shape:
            return source
        return reader.add(Reshape(*reader.place(operator)))
    if len(shape) == 2 and shape[-1] == source.shape[-1]:
        return source  # (batch * H * W, C), on the way into and out of a dense layer
    places = BATCH * int(np.prod(source.shape[:-1]))
    if shape == (1, places, source.shape[-1], 1):
        return source  # on the way into tf_keras's layer normalization
    raise reader.unsupported(operator, "a shape that mixes images")


def tile(reader: Reader, operator: Operator) -> Node:
    """A tensor several times.

    Keras 3 spells nearest upsampling so: a dimension of 1 put in, repeated, and joined.
    """
    source, times = reader.source(operator), np.ravel(reader.known(operator, 1)).tolist()
    repeats = times
    image = reader.nodes[source.inputs[0]] if isinstance(source, Reshape) else source
    if len(image.shape) == 2:
        image, times = reader.row(operator, image), [times[0], 1, *times[1:]]
    rows, columns, channels = image.shape if len(image.shape) == 3 else (0, 0, 0)
    for axis, apart in ((0, (rows, 1, columns, channels)), (1, (rows, columns, 1, channels))):
        factor = times[axis + 2] if len(times) == 5 else 0
        alone = [factor if place == axis + 2 else 1 for place in range(5)]
        if source.shape in (apart, apart[1:]) and times == alone:
            size = (factor, 1) if axis == 0 else (1, factor)
            shape = (rows * size[0], columns * size[1], channels)
            larger = reader.add(UpSampling2D(*reader.place(operator, [image], shape), size=size))
            return reader.add(Reshape(*reader.place(operator, [larger])))
    places = {
        axis: np.tile(np.arange(size), count)
        for axis, (size, count) in enumerate(zip((BATCH, *source.shape), repeats, strict=True))
    }
    return gathered(reader, operator, source, places)
