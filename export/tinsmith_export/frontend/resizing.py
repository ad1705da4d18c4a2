"""Readers of the operators that resize images.

LiteRT, XNNPACK and ONNX Runtime each round bilinear interpolation in another way. It is linear, so
here it becomes products with constant weights, which all of them round alike.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tinsmith_export.frontend.gathering import gathered
from tinsmith_export.frontend.moving import over_last
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.ops import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Floats,
    Node,
    Reshape,
    UpSampling2D,
)

_TAPS = 3
"""How many pixels in a row are looked at where the factor is whole."""
_LARGEST = 1 << 22
"""How many numbers a matrix may have, rows by rows or columns by columns."""


def nearest(reader: Reader, operator: Operator) -> Node:
    """Each pixel of the output is one of the input's."""
    source = reader.image(operator)
    size = [new / old for new, old in zip(operator.shape[1:3], source.shape[:2], strict=True)]
    if not any(factor % 1 for factor in size) and not operator.settings["align_corners"]:
        return reader.add(UpSampling2D(*reader.place(operator), size=(int(size[0]), int(size[1]))))
    places = {}
    for axis in (1, 2):
        numbers = np.arange(source.shape[axis - 1], dtype=np.float32)[:, None]
        places[axis] = _resized(operator, numbers, operator.shape[axis]).ravel().astype(int)
    return gathered(reader, operator, source, places)


def bilinear(reader: Reader, operator: Operator) -> Node:
    """Each pixel of the output lies between four of the input's."""
    node = reader.image(operator)
    if any(old * new > _LARGEST for old, new in zip(node.shape, operator.shape[1:3], strict=False)):
        raise reader.unsupported(operator, "images of 2,048 rows and columns at most")
    matrices = [
        _resized(operator, np.eye(old, dtype=np.float32), new)
        for old, new in zip(node.shape[:2], operator.shape[1:3], strict=True)
    ]
    rows, columns = map(_taps, matrices)
    if rows is not None and columns is not None:
        return _by_convolution(reader, operator, node, rows, columns)
    for axis, matrix in enumerate(matrices):
        node = _by_product(reader, operator, node, axis, matrix)
    return node


def _resized(operator: Operator, columns: Floats, size: int) -> Floats:
    """Resizes an image one pixel wide, `(H, C)`, as an operator does; gives `(size, C)`."""
    settings = {key: operator.settings[key] for key in ("align_corners", "half_pixel_centers")}
    resize = getattr(tf.raw_ops, operator.kind)
    found: Any = resize(images=columns[None, :, None], size=(size, 1), **settings)
    return np.asarray(found.numpy()[0, :, 0], np.float32)


def _taps(matrix: Floats) -> Floats | None:
    """What each of the pixels that become of one takes of it and its two neighbours.

    Args:
        matrix: what each pixel of the output takes of each of the input, `(new, old)`.

    Returns:
        `(factor, 3)`; nothing if the factor is not whole, or another for each pixel.
    """
    new, old = matrix.shape
    if new % old or old < _TAPS:
        return None
    factor = new // old
    taps = matrix[factor : 2 * factor, :_TAPS]
    same = np.zeros_like(matrix)
    for pixel, tap in np.ndindex(old, _TAPS):
        near = min(max(pixel + tap - 1, 0), old - 1)  # at the edge, the edge itself
        same[pixel * factor : (pixel + 1) * factor, near] += taps[:, tap]
    return taps if np.allclose(same, matrix, atol=1e-6) else None


def _by_convolution(
    reader: Reader, operator: Operator, source: Node, rows: Floats, columns: Floats
) -> Node:
    """A channel for each pixel that becomes of one, put side by side."""
    height, width, channels = source.shape
    edges: dict[int, NDArray[Any]] = {
        axis: np.clip(np.arange(-1, size + 1), 0, size - 1)
        for axis, size in ((1, height), (2, width))
    }
    padded = gathered(reader, operator, source, edges)
    one = np.einsum("ai,bj->ijab", rows, columns).reshape(_TAPS, _TAPS, 1, -1)
    kernel = np.repeat(one, channels, axis=2)  # output channel c * M + m
    kind = Conv2D if channels == 1 else DepthwiseConv2D
    place = reader.place(operator, [padded], (height, width, channels * one.shape[3]))
    node: Node = reader.add(kind(*place, kernel=kernel))
    apart = (height, width, channels, len(rows), len(columns))
    node = reader.add(Reshape(*reader.place(operator, [node], apart)))
    axes = (0, 3, 1, 4, 2)
    place = reader.place(operator, [node], tuple(apart[axis] for axis in axes))
    node = reader.add(Transpose(*place, permutation=axes))
    return reader.add(Reshape(*reader.place(operator, [node])))


def _by_product(
    reader: Reader, operator: Operator, source: Node, axis: int, matrix: Floats
) -> Node:
    """A matrix product over one dimension."""
    if np.array_equal(matrix, np.eye(len(matrix), matrix.shape[1])):
        return source

    def product(node: Node) -> Node:
        place = reader.place(operator, [node], (*node.shape[:-1], len(matrix)))
        return reader.add(Dense(*place, kernel=matrix.T.copy()))

    return over_last(reader, operator, source, axis, product)
