"""Rewrites into convolutions, the products that both engines round alike."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.graph import POOLING, WEIGHTED, Graph, Node


def pool_by_convolution(graph: Graph) -> Graph:
    """Makes an average a depthwise convolution with equal weights, and a flattening after it.

    The engines round a mean each in its own way, but a convolution in the same.
    """
    for name in [node.name for node in graph.nodes if node.kind in POOLING]:
        node = graph.node(name)
        *image, channels = node.config["input_shape"]
        size = tuple(node.config.get("pool_size", image))
        kernel = np.full((*size, channels, 1), 1 / np.prod(size), np.float32)
        mean = _depthwise(node, kernel, strides=tuple(node.config.get("strides", (1, 1))))
        graph = graph.replaced(mean)
        if node.kind == "GlobalAveragePooling2D" and not node.config["keepdims"]:
            graph = graph.inserted(mean, Node(f"{name}/flatten", "Flatten", (name,)))
    return graph


def split_separable(graph: Graph) -> Graph:
    """Makes a separable convolution the two that it is: depthwise, then 1 x 1."""
    for name in [node.name for node in graph.nodes if node.kind == "SeparableConv2D"]:
        node = graph.node(name)
        shared = {key: node.config[key] for key in ("strides", "padding", "dilation_rate")}
        first = _depthwise(node, node.weights["depthwise_kernel"], **shared)
        weights = {"kernel": node.weights["pointwise_kernel"]}
        if node.config["use_bias"]:
            weights["bias"] = node.weights["bias"]
        config = {key: node.config[key] for key in ("filters", "use_bias", "activation")}
        second = Node(
            f"{name}/pointwise", "Conv2D", (name,), {**config, "kernel_size": (1, 1)}, weights
        )
        graph = graph.replaced(first).inserted(first, second)
    return graph


def fold_batch_norm(graph: Graph) -> Graph:
    """Folds each batch normalization into the layer before it (Jacob et al. 2018, section 3.2).

    `gamma * (x - mean) / sqrt(variance + epsilon) + beta` of `x = w * a + b` is one product with
    scaled weights and one bias.
    """
    for name in [node.name for node in graph.nodes]:
        norm = graph.node(name)
        if norm.kind != "BatchNormalization":
            continue
        layer = graph.node(norm.inputs[0])
        if layer.kind not in WEIGHTED or len(graph.readers(layer.name)) != 1:
            continue
        factor, offset = _affine(norm)
        kernel_name = WEIGHTED[layer.kind]
        kernel = layer.weights[kernel_name]
        # A depthwise kernel is (kh, kw, C, M), its output channel c * M + m.
        scale = np.reshape(factor, kernel.shape[2:] if layer.kind == "DepthwiseConv2D" else (-1,))
        weights = {
            kernel_name: (kernel * scale).astype(np.float32),
            "bias": (layer.weights.get("bias", 0.0) * factor + offset).astype(np.float32),
        }
        config = {**layer.config, "use_bias": True}
        graph = graph.replaced(replace(layer, config=config, weights=weights)).without(norm.name)
    return graph


def norm_by_convolution(graph: Graph) -> Graph:
    """Makes a batch normalization that nothing could take a depthwise 1 x 1 convolution.

    That keeps a scale for each channel, which a product with one quantized vector would not.
    """
    for node in graph.nodes:
        if node.kind != "BatchNormalization" or node.config["rank"] != 4:
            continue
        factor, offset = _affine(node)
        kernel = factor.reshape(1, 1, -1, 1).astype(np.float32)
        graph = graph.replaced(_depthwise(node, kernel, offset.astype(np.float32)))
    return graph


def _depthwise(
    node: Node,
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    **config: Any,
) -> Node:
    """A depthwise convolution in the place of a node; the kernel is `(kh, kw, C, M)`."""
    weights = {WEIGHTED["DepthwiseConv2D"]: kernel}
    if bias is not None:
        weights["bias"] = bias
    config |= {
        "depth_multiplier": kernel.shape[3],
        "kernel_size": kernel.shape[:2],
        "use_bias": bias is not None,
        "activation": "linear",
    }
    return Node(node.name, "DepthwiseConv2D", node.inputs, config, weights)


def _affine(norm: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The factor and the offset, `float64 (C,)`, that a batch normalization is at inference."""
    w = {name: values.astype(np.float64) for name, values in norm.weights.items()}
    factor = w.get("gamma", 1.0) / np.sqrt(w["moving_variance"] + norm.config["epsilon"])
    return factor, w.get("beta", 0.0) - w["moving_mean"] * factor
