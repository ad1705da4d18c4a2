"""Readers of the operators that pool, join, cut and move images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinsmith_export.trace import BATCH, Operator

if TYPE_CHECKING:
    from tinsmith_export.reader import Reader


def pool(kind: str) -> Callable[[Reader, Operator], str]:
    """Gives the reader of a pooling of that kind."""

    def read(reader: Reader, operator: Operator) -> str:
        reader.image(operator)
        return reader.add(
            operator,
            kind,
            pool_size=tuple(operator.settings["ksize"][1:3]),
            strides=tuple(operator.settings["strides"][1:3]),
            padding=operator.settings["padding"].decode().lower(),
        )

    return read


def reduce(reader: Reader, operator: Operator) -> str:
    """A mean or a maximum over the whole image; a mean over the channels."""
    source, axes = reader.source(operator), reader.constant(operator, 1)
    rank = len(source.shape) + 1
    over = sorted(int(axis) % rank for axis in np.ravel(axes)) if axes is not None else []
    if rank == 3 and over == [1]:
        source, rank, over = reader.row(operator, source), 4, [1, 2]
    if operator.kind == "Mean" and over == [rank - 1]:
        shape = (BATCH, *source.shape[:-1], 1)
        name = reader.add(operator, "ChannelMean", shape=shape)
    elif over == [1, 2] and rank == 4:
        kind = {"Mean": "AveragePooling2D", "Max": "MaxPooling2D"}[operator.kind]
        size = source.shape[:2]
        shape = (BATCH, 1, 1, source.shape[-1])
        name = reader.add(
            operator, kind, [source], pool_size=size, strides=size, padding="valid", shape=shape
        )
    else:
        raise reader.unsupported(operator, f"{operator.kind} over dimensions {over}")
    if operator.shape == shape:
        return name
    return reader.add(operator, "Reshape", [reader.nodes[name]])


def concatenate(reader: Reader, operator: Operator) -> str:
    """A concatenation of channels."""
    *tensors, axis = operator.inputs
    if any(name in reader.constants for name in tensors):
        raise reader.unsupported(operator, "a constant joined to a computed tensor")
    sources = [reader.source(operator, index) for index in range(len(tensors))]
    over = int(np.ravel(reader.constants[axis])[0]) % (len(operator.shape))
    if over != len(operator.shape) - 1:
        raise reader.unsupported(operator, f"a concatenation along dimension {over}")
    return reader.add(operator, "Concatenate", sources) if len(sources) > 1 else sources[0].name


def pad(reader: Reader, operator: Operator) -> str:
    """Zeros around an image or a sequence."""
    source, amounts = reader.source(operator), reader.known(operator, 1).tolist()
    sequence = len(source.shape) == 2
    if sequence:
        source, amounts = reader.row(operator, source), [amounts[0], [0, 0], *amounts[1:]]
    if (
        len(amounts) != 4
        or amounts[0] != [0, 0]
        or amounts[3] != [0, 0]
        or operator.kind == "MirrorPad"
    ):
        raise reader.unsupported(operator, "a padding other than zeros around an image")
    if len(operator.inputs) > 2 and np.any(reader.constant(operator, 2)):
        raise reader.unsupported(operator, "a padding other than zeros")
    (top, bottom), (left, right) = padding = (tuple(amounts[1]), tuple(amounts[2]))
    rows, columns, channels = source.shape
    shape = (BATCH, rows + top + bottom, columns + left + right, channels)
    name = reader.add(operator, "ZeroPadding2D", [source], padding=padding, shape=shape)
    return reader.add(operator, "Reshape", [reader.nodes[name]]) if sequence else name


def crop(reader: Reader, operator: Operator) -> str:
    """A part of an image: rows and columns cut off."""
    source = reader.image(operator)
    begin, steps = (np.ravel(reader.known(operator, index)).tolist() for index in (1, 3))
    settings, crop = operator.settings, []
    plain = not any(settings[f"{kind}_mask"] for kind in ("ellipsis", "new_axis", "shrink_axis"))
    for axis, (size, rest) in enumerate(zip((BATCH, *source.shape), operator.shape, strict=plain)):
        first = 0 if axis >= len(begin) or settings["begin_mask"] >> axis & 1 else begin[axis]
        crop.append((first % size, size - rest - first % size))
        plain &= axis >= len(steps) or steps[axis] == 1
    if not plain or crop[0] != (0, 0) or crop[3] != (0, 0):
        raise reader.unsupported(operator, "a slice other than rows and columns of an image")
    return reader.add(operator, "Cropping2D", cropping=(crop[1], crop[2]))


def reshape(reader: Reader, operator: Operator) -> str:
    """A new shape of each image; layers that look at the last dimension alone see no other."""
    source, shape = reader.source(operator), operator.shape
    if shape[0] == BATCH and np.prod(shape[1:]) == np.prod(source.shape):
        if shape[1:] == source.shape:
            return source.name
        return reader.add(operator, "Reshape")
    if len(shape) == 2 and shape[-1] == source.shape[-1]:
        return source.name  # (batch * H * W, C), on the way into and out of a dense layer
    places = BATCH * int(np.prod(source.shape[:-1]))
    if shape == (1, places, source.shape[-1], 1):
        return source.name  # on the way into tf_keras's layer normalization
    raise reader.unsupported(operator, "a shape that mixes images")


def tile(reader: Reader, operator: Operator) -> str:
    """How Keras 3 spells nearest upsampling: a dimension of 1 put in, repeated, and joined."""
    source, times = reader.source(operator), np.ravel(reader.known(operator, 1)).tolist()
    image = reader.nodes[source.inputs[0]] if source.kind == "Reshape" else source
    if len(image.shape) == 2:
        image, times = reader.row(operator, image), [times[0], 1, *times[1:]]
    rows, columns, channels = image.shape if len(image.shape) == 3 else (0, 0, 0)
    for axis, apart in ((0, (rows, 1, columns, channels)), (1, (rows, columns, 1, channels))):
        factor = times[axis + 2] if len(times) == 5 else 0
        alone = [factor if place == axis + 2 else 1 for place in range(5)]
        if source.shape in (apart, apart[1:]) and times == alone:
            size = (factor, 1) if axis == 0 else (1, factor)
            shape = (BATCH, rows * size[0], columns * size[1], channels)
            name = reader.add(operator, "UpSampling2D", [image], size=size, shape=shape)
            return reader.add(operator, "Reshape", [reader.nodes[name]])
    raise reader.unsupported(operator, "a repetition other than of an image's rows and columns")


def upsample(reader: Reader, operator: Operator) -> str:
    """Nearest upsampling by whole factors."""
    source = reader.image(operator)
    size = [new / old for new, old in zip(operator.shape[1:3], source.shape[:2], strict=True)]
    if any(factor % 1 for factor in size) or operator.settings["align_corners"]:
        raise reader.unsupported(operator, "a resize by a factor that is not whole")
    return reader.add(operator, "UpSampling2D", size=tuple(map(int, size)))
