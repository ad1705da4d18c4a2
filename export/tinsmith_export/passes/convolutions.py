"""Rewrites into convolutions, the products that both engines round alike."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Slice
from tinsmith_export.ir.ops import (
    UNCLIPPED,
    AveragePooling2D,
    Clipped,
    Conv2D,
    Convolution,
    Dense,
    DepthwiseConv2D,
    Node,
    Padding,
    Pair,
    Reshape,
    Weigh,
    ZeroPadding2D,
)
from tinsmith_export.passes.rule import for_each


def depthwise(
    node: Node,
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    strides: Pair = (1, 1),
    padding: Padding = "valid",
) -> DepthwiseConv2D:
    """A depthwise convolution in the place of a node.

    Args:
        node: gives name, inputs, shape and clip.
        kernel: `(kh, kw, C, M)`.
        bias: `(C * M,)`.
        strides: over rows and columns.
        padding: of the image.
    """
    return DepthwiseConv2D(
        node.name,
        node.inputs,
        node.shape,
        kernel=kernel,
        bias=bias,
        strides=strides,
        padding=padding,
        clip=node.clip if isinstance(node, Clipped) else UNCLIPPED,
    )


def as_image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of an image of one row with the same numbers in the same order."""
    return 1, int(np.prod(shape[:-1], dtype=int)), shape[-1]


def by_channel(
    node: Node, factor: NDArray[np.float32], offset: NDArray[np.float32] | None = None
) -> tuple[Node, ...]:
    """A depthwise 1 x 1 convolution in the place of a node, one factor a channel.

    Returns:
        What computes it, and last the node of that name; what is no image becomes one on the way.
    """
    kernel = factor.reshape(1, 1, -1, 1)
    if len(node.shape) == 3:
        return (depthwise(node, kernel, offset),)
    rows = as_image(node.shape)
    into = Reshape(f"{node.name}/image", node.inputs, rows)
    inner = replace(node, name=f"{node.name}/scale", inputs=(into.name,), shape=rows)
    middle = depthwise(inner, kernel, offset)
    return into, middle, Reshape(node.name, (middle.name,), node.shape)


def identity(node: Node) -> tuple[Node, ...]:
    """The same with factors of 1: it only rounds to a range of its own."""
    return by_channel(node, np.ones(node.shape[-1], np.float32))


@for_each(AveragePooling2D)
def pool_by_convolution(graph: Graph, node: AveragePooling2D) -> Graph:
    """Makes an average a depthwise convolution with equal weights.

    The engines round a mean each in its own way, but a convolution in the same. Where the image is
    padded, an average counts the pixels of the image alone: a product with one number a place.
    """
    size, padding = node.pool_size, node.padding
    stride, source = max(node.strides), graph.node(node.inputs[0])
    kernel = np.full((*size, node.shape[-1], 1), 1 / np.prod(size), np.float32)
    mean: Node = depthwise(node, kernel, strides=(stride, stride), padding=padding)
    before: list[Node] = []
    if any(s < stride and n > 1 for s, n in zip(node.strides, node.shape, strict=False)):
        *before, mean = _pooled_everywhere(node, kernel, source.shape)
    graph = graph.replaced(mean, *before)
    share = _share(source.shape, node)
    if padding == "same" and not np.all(share == 1):
        factor = np.float32(1) / share
        counted = Weigh(f"{node.name}/counted", (node.name,), node.shape, factor=factor)
        graph = graph.inserted(mean, counted)
    return graph


def _pooled_everywhere(
    node: AveragePooling2D, kernel: NDArray[np.float32], shape: tuple[int, ...]
) -> tuple[Node, ...]:
    """A pooling of two strides: at each pixel, and of what that gives a part.

    TensorFlow has no depthwise convolution of two strides.
    """
    pads = []
    for size, length, stride, out in zip(
        shape[:2], node.pool_size, node.strides, node.shape[:2], strict=True
    ):
        total = max((out - 1) * stride + length - size, 0)
        pads.append((total // 2, total - total // 2))
    padded = (shape[0] + sum(pads[0]), shape[1] + sum(pads[1]), shape[2])
    around = ZeroPadding2D(f"{node.name}/padded", node.inputs, padded, padding=(pads[0], pads[1]))
    rows, columns = (size - n + 1 for size, n in zip(padded[:2], node.pool_size, strict=True))
    windows = replace(
        node, name=f"{node.name}/windows", inputs=(around.name,), shape=(rows, columns, shape[2])
    )
    begin, steps = (0, 0, 0), (*node.strides, 1)
    part = Slice(node.name, (windows.name,), node.shape, begin=begin, steps=steps)
    return around, depthwise(windows, kernel), part


def _share(shape: tuple[int, ...], node: AveragePooling2D) -> NDArray[np.float32]:
    """The part of each window of a pooling that lies in the image, `float32 (H, W, 1)`."""
    shares = []
    for axis in (0, 1):
        size, stride = node.pool_size[axis], node.strides[axis]
        before = max((node.shape[axis] - 1) * stride + size - shape[axis], 0) // 2
        start = np.arange(node.shape[axis]) * stride - before
        inside = np.minimum(start + size, shape[axis]) - np.maximum(start, 0)
        shares.append(inside / size)
    return np.asarray(np.outer(*shares)[..., None], np.float32)


def dense_by_convolution(graph: Graph) -> Graph:
    """Makes a dense layer a 1 x 1 convolution, which has a scale for each output channel.

    TensorFlow's converter gives the weights of a dense layer one scale for all.
    """
    for node in graph.nodes:
        if not isinstance(node, Dense):
            continue
        kernel = node.kernel[None, None]
        image = Conv2D(
            node.name,
            node.inputs,
            node.shape,
            kernel=kernel,
            bias=node.bias,
            clip=node.clip,
            shared=node.shared,
        )
        if len(node.shape) == 3:
            graph = graph.replaced(image)
            continue
        taken = as_image((*node.shape[:-1], kernel.shape[2]))
        into = Reshape(f"{node.name}/image", node.inputs, taken)
        image = replace(image, inputs=(into.name,), shape=as_image(node.shape))
        out = Reshape(f"{node.name}/values", (node.name,), node.shape)
        graph = graph.replaced(image, into).inserted(image, out)
    return graph


def convolution_by_dense(graph: Graph) -> Graph:
    """Makes a 1 x 1 convolution a dense layer, for training alone.

    TensorFlow's gradient of a wide convolution over one pixel takes nine times as long.
    """
    for node in graph.nodes:
        if not isinstance(node, Conv2D) or node.kernel.shape[:2] != (1, 1):
            continue
        if node.strides == (1, 1) and node.groups == 1:
            dense = Dense(
                node.name,
                node.inputs,
                node.shape,
                kernel=node.kernel[0, 0],
                bias=node.bias,
                clip=node.clip,
                shared=node.shared,
            )
            graph = graph.replaced(dense)
    return graph


def spread_dilation(graph: Graph) -> Graph:
    """Puts the zeros of a dilated convolution into its kernel.

    TensorFlow's converter leaves a fake-quantized dilated convolution in float.
    """
    for node in graph.weighted:
        if not isinstance(node, Convolution) or node.dilation_rate == (1, 1):
            continue
        kernel, (rows, columns) = node.kernel, node.dilation_rate
        size = [(kernel.shape[0] - 1) * rows + 1, (kernel.shape[1] - 1) * columns + 1]
        spread = np.zeros((*size, *kernel.shape[2:]), np.float32)
        spread[::rows, ::columns] = kernel
        graph = graph.replaced(replace(node, kernel=spread, dilation_rate=(1, 1)))
    return graph
