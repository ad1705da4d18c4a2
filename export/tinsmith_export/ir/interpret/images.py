"""Operators that look at an image's rows and columns, `(N, H, W, C)`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.interpret.operands import Operands, Values, compute
from tinsmith_export.ir.interpret.rounding import quantize, requantize
from tinsmith_export.ir.ops import (
    Conv2D,
    Convolution,
    DepthToSpace,
    DepthwiseConv2D,
    MaxPooling2D,
    Pair,
    UpSampling2D,
    ZeroPadding2D,
)


@compute.register
def _(node: Convolution, operands: Operands) -> Values:
    weights, output = operands.weights, operands.output
    if weights is None:
        return _in_float(node, operands)
    (image,) = operands.centered
    sums = _sums(node, image, weights.codes).astype(np.int64)
    if weights.bias is not None:
        sums = sums + weights.bias
    scale = np.float32(operands.scales[0]) * weights.scale / np.float32(output.scale)
    return requantize(sums.astype(np.int32), scale, output)


def _in_float(node: Convolution, operands: Operands) -> Values:
    """A product whose weights are kept float."""
    (image,) = operands.reals
    sums = _sums(node, image, node.channel_kernel)
    sums = sums if node.bias is None else sums + node.bias
    if operands.rounds:
        return quantize(sums, operands.output)
    low, high = node.clip
    return np.clip(sums, -np.inf if low is None else low, high).astype(np.float32)


def _sums(node: Convolution, image: NDArray[Any], kernel: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of products, `(N, H, W, channels)`; `float64` holds those of integers exactly."""
    image, kernel = image.astype(np.float64), kernel.astype(np.float64)
    sums = np.zeros((len(image), *node.shape[:-1], node.channels))
    size = kernel.shape[:2]
    for row, column, pixels in _windows(node, image, (size[0], size[1]), node.dilation_rate):
        sums += _products(node, pixels, kernel[row, column])
    return sums


def _products(
    node: Convolution, pixels: NDArray[np.float64], kernel: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pixels `(N, H, W, C)` times the weights of one place in the window."""
    if isinstance(node, DepthwiseConv2D):
        return np.repeat(pixels, node.kernel.shape[3], axis=-1) * kernel
    groups = node.groups if isinstance(node, Conv2D) else 1
    split = (np.split(array, groups, axis=-1) for array in (pixels, kernel))
    return np.concatenate([one @ weights for one, weights in zip(*split, strict=True)], axis=-1)


def _windows(
    node: Convolution | MaxPooling2D,
    image: NDArray[Any],
    size: Pair,
    dilation: Pair = (1, 1),
    outside: float = 0,
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """For each row and column of a window, the pixels that all windows have there."""
    around, steps = [(0, 0), (0, 0)], []
    for axis in (0, 1):
        span = (node.shape[axis] - 1) * node.strides[axis] + 1  # from the first to the last window
        steps.append((span, node.strides[axis]))
        if node.padding == "same":
            reach = span + (size[axis] - 1) * dilation[axis]
            total = max(reach - image.shape[1 + axis], 0)
            around[axis] = total // 2, total - total // 2
    image = np.pad(image, ((0, 0), *around, (0, 0)), constant_values=outside)
    for row, column in np.ndindex(size):
        starts = row * dilation[0], column * dilation[1]
        rows, columns = (
            slice(start, start + span, stride)
            for start, (span, stride) in zip(starts, steps, strict=True)
        )
        yield row, column, image[:, rows, columns]


@compute.register
def _(node: MaxPooling2D, operands: Operands) -> Values:
    (codes,) = operands.codes
    places = _windows(node, codes, node.pool_size, outside=-128 if operands.rounds else -np.inf)
    largest: Values = np.max([pixels for *_, pixels in places], axis=0)
    return largest


@compute.register
def _(node: ZeroPadding2D, operands: Operands) -> Values:
    around, zero = ((0, 0), *node.padding, (0, 0)), operands.output.zero_point * operands.rounds
    return np.pad(operands.codes[0], around, constant_values=zero)


@compute.register
def _(node: UpSampling2D, operands: Operands) -> Values:
    return operands.codes[0].repeat(node.size[0], axis=1).repeat(node.size[1], axis=2)


@compute.register
def _(node: DepthToSpace, operands: Operands) -> Values:
    (codes,), block = operands.codes, node.block
    height, width = codes.shape[1:3]
    blocks = codes.reshape(-1, height, width, block, block, node.shape[-1])
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, *node.shape)
