"""Rewrites into convolutions, the products that both engines round alike."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.graph import Graph, Node


def depthwise(
    node: Node,
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    **config: Any,
) -> Node:
    """A depthwise convolution in the place of a node.

    Args:
        node: gives name, inputs, shape and clip.
        kernel: `(kh, kw, C, M)`.
        bias: `(C * M,)`.
        config: other settings than stride 1, no padding and no dilation.
    """
    weights = {"depthwise_kernel": kernel} | ({} if bias is None else {"bias": bias})
    settings = {"strides": (1, 1), "padding": "valid", "dilation_rate": (1, 1)} | config
    if "clip" in node.config:
        settings["clip"] = node.config["clip"]
    return replace(node, kind="DepthwiseConv2D", config=settings, weights=weights)


def identity(node: Node) -> Node:
    """A depthwise convolution with weights of 1: it only rounds to a range of its own."""
    return depthwise(node, np.ones((1, 1, node.shape[-1], 1), np.float32))


def pool_by_convolution(graph: Graph) -> Graph:
    """Makes an average a depthwise convolution with equal weights.

    The engines round a mean each in its own way, but a convolution in the same. Where the image is
    padded, an average counts the pixels of the image alone: a product with one number a place.
    """
    for name in [node.name for node in graph.nodes if node.kind == "AveragePooling2D"]:
        node = graph.node(name)
        size, padding = node.config["pool_size"], node.config["padding"]
        kernel = np.full((*size, node.shape[-1], 1), 1 / np.prod(size), np.float32)
        mean = depthwise(node, kernel, strides=node.config["strides"], padding=padding)
        graph = graph.replaced(mean)
        source = graph.node(node.inputs[0])
        share = _share(source.shape, node)
        if padding == "same" and not np.all(share == 1):
            counted = Node(
                f"{name}/counted", "Weigh", (name,), node.shape, {}, {"factor": 1 / share}
            )
            graph = graph.inserted(mean, counted)
    return graph


def _share(shape: tuple[int, ...], node: Node) -> NDArray[np.float32]:
    """The part of each window of a pooling that lies in the image, `float32 (H, W, 1)`."""
    shares = []
    for axis in (0, 1):
        size, stride = node.config["pool_size"][axis], node.config["strides"][axis]
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
        if node.kind != "Dense":
            continue
        kernel = node.weights["kernel"][None, None]
        settings = {"strides": (1, 1), "padding": "valid", "dilation_rate": (1, 1), "groups": 1}
        image = replace(
            node,
            kind="Conv2D",
            config={**node.config, **settings},
            weights={**node.weights, "kernel": kernel},
        )
        if len(node.shape) == 3:
            graph = graph.replaced(image)
            continue
        rows = int(np.prod(node.shape[:-1], dtype=int))
        into = Node(f"{node.name}/image", "Reshape", node.inputs, (1, rows, kernel.shape[2]))
        image = replace(image, inputs=(into.name,), shape=(1, rows, node.shape[-1]))
        out = Node(f"{node.name}/values", "Reshape", (node.name,), node.shape)
        graph = graph.replaced(image, into).inserted(image, out)
    return graph
