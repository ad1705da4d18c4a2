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
    """A mean, a sum or a maximum over any dimensions of each image."""
    source, axes = reader.source(operator), reader.known(operator, 1)
    rank = len(source.shape)
    over = sorted({int(axis) % (rank + 1) - 1 for axis in np.ravel(axes)})
    if -1 in over or not over:
        raise reader.unsupported(operator, f"{operator.kind} that leaves the images apart")
    kept = [axis for axis in range(rank) if axis not in over]
    node, count = source, int(np.prod([source.shape[axis] for axis in over]))
    if over == [rank - 1] and operator.kind != "Max":
        kernel = np.full((source.shape[-1], 1), 1 / count, np.float32)
        place = reader.place(operator, [node], (*source.shape[:-1], 1))
        node = reader.add(Dense(*place, kernel=kernel))
    else:
        node = _pooled(reader, operator, (*over, *kept), len(over))
    if operator.kind == "Sum":
        factor, offset = np.float32(count), np.float32(0)
        place = reader.place(operator, [node], node.shape)
        node = reader.add(Affine(*place, factor=np.asarray(factor), offset=np.asarray(offset)))
    if operator.shape[1:] == node.shape:
        return node
    return reader.add(Reshape(*reader.place(operator, [node])))


def _pooled(reader: Reader, operator: Operator, order: tuple[int, ...], count: int) -> Node:
    """Pools over the first `count` dimensions of an order: as rows and columns of an image."""
    node = reader.source(operator)
    shape = tuple(node.shape[axis] for axis in order)
    if order != tuple(range(len(order))):
        place = reader.place(operator, [node], shape)
        node = reader.add(Transpose(*place, permutation=order), inner=True)
    image = (
        shape if (count, len(shape)) == (2, 3) else (1, prod(shape[:count]), prod(shape[count:]))
    )
    if image != shape:
        node = reader.add(Reshape(*reader.place(operator, [node], image)))
    kind: Pooling = MaxPooling2D if operator.kind == "Max" else AveragePooling2D
    size = image[0], image[1]
    place = reader.place(operator, [node], (1, 1, image[2]))
    return reader.add(kind(*place, pool_size=size, strides=size, padding="valid"))


def concatenate(reader: Reader, operator: Operator) -> Node:
    """A concatenation along any dimension but the batch; constants are made of a computed tensor."""
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
    """Zeros before and after two dimensions of an image, or one of a sequence."""
    source, amounts = reader.source(operator), reader.known(operator, 1).tolist()
    sequence = len(source.shape) == 2
    if sequence:
        source, amounts = reader.row(operator, source), [amounts[0], [0, 0], *amounts[1:]]
    if len(amounts) != 4 or amounts[0] != [0, 0] or [0, 0] not in amounts[1:]:
        raise reader.unsupported(operator, "a padding of two dimensions of an image")
    if len(operator.inputs) > 2 and np.any(reader.constant(operator, 2)):
        raise reader.unsupported(operator, "a padding other than zeros")
    around = amounts[1:]
    whole = max(axis for axis in range(3) if around[axis] == [0, 0])
    (top, bottom), (left, right) = (around[axis] for axis in range(3) if axis != whole)

    def pad_image(image: Node) -> Node:
        rows, columns, channels = image.shape
        shape = (rows + top + bottom, columns + left + right, channels)
        place, padding = reader.place(operator, [image], shape), ((top, bottom), (left, right))
        return reader.add(ZeroPadding2D(*place, padding=padding))

    padded = over_last(reader, operator, source, whole, pad_image)
    return reader.add(Reshape(*reader.place(operator, [padded]))) if sequence else padded


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
