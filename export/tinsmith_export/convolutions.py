"""Rewrites into convolutions, the products that both engines round alike."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.graph import WEIGHTED, Graph, Node


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
    into = Node(f"{node.name}/image", "Reshape", node.inputs, rows)
    inner = replace(node, name=f"{node.name}/scale", inputs=(into.name,), shape=rows)
    middle = depthwise(inner, kernel, offset)
    return into, middle, Node(node.name, "Reshape", (middle.name,), node.shape)


def identity(node: Node) -> tuple[Node, ...]:
    """The same with factors of 1: it only rounds to a range of its own."""
    return by_channel(node, np.ones(node.shape[-1], np.float32))


def pool_by_convolution(graph: Graph) -> Graph:
    """Makes an average a depthwise convolution with equal weights.

    The engines round a mean each in its own way, but a convolution in the same. Where the image is
    padded, an average counts the pixels of the image alone: a product with one number a place.
    """
    for name in [node.name for node in graph.nodes if node.kind == "AveragePooling2D"]:
        node = graph.node(name)
        size, padding = node.config["pool_size"], node.config["padding"]
        stride = max(node.config["strides"])
        if any(
            s < stride and n > 1 for s, n in zip(node.config["strides"], node.shape, strict=False)
        ):
            continue  # TensorFlow has no depthwise convolution of two strides
        kernel = np.full((*size, node.shape[-1], 1), 1 / np.prod(size), np.float32)
        mean = depthwise(node, kernel, strides=(stride, stride), padding=padding)
        graph = graph.replaced(mean)
        source = graph.node(node.inputs[0])
        share = _share(source.shape, node)
        if padding == "same" and not np.all(share == 1):
            weights = {"factor": np.float32(1) / share}
            counted = Node(f"{name}/counted", "Weigh", (name,), node.shape, {}, weights)
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
        taken = as_image((*node.shape[:-1], kernel.shape[2]))
        into = Node(f"{node.name}/image", "Reshape", node.inputs, taken)
        image = replace(image, inputs=(into.name,), shape=as_image(node.shape))
        out = Node(f"{node.name}/values", "Reshape", (node.name,), node.shape)
        graph = graph.replaced(image, into).inserted(image, out)
    return graph


def convolution_by_dense(graph: Graph) -> Graph:
    """Makes a 1 x 1 convolution a dense layer, for training alone.

    TensorFlow's gradient of a wide convolution over one pixel takes nine times as long.
    """
    for node in graph.nodes:
        if node.kind != "Conv2D" or node.weights["kernel"].shape[:2] != (1, 1):
            continue
        if node.config["strides"] == (1, 1) and node.config["groups"] == 1:
            config = {key: value for key, value in node.config.items() if key == "clip"}
            weights = {**node.weights, "kernel": node.weights["kernel"][0, 0]}
            graph = graph.replaced(replace(node, kind="Dense", config=config, weights=weights))
    return graph


def spread_dilation(graph: Graph) -> Graph:
    """Puts the zeros of a dilated convolution into its kernel.

    TensorFlow's converter leaves a fake-quantized dilated convolution in float.
    """
    for node in graph.weighted:
        steps = node.config.get("dilation_rate", (1, 1))
        if steps == (1, 1):
            continue
        name = WEIGHTED[node.kind]
        kernel = node.weights[name]
        size = [(taps - 1) * step + 1 for taps, step in zip(kernel.shape, steps, strict=False)]
        spread = np.zeros((*size, *kernel.shape[2:]), np.float32)
        spread[:: steps[0], :: steps[1]] = kernel
        weights = {**node.weights, name: spread}
        graph = graph.replaced(replace(node.configured(dilation_rate=(1, 1)), weights=weights))
    return graph
