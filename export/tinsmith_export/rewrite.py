"""Rewrites of the graph into the few layers that quantize well; each leaves the outputs alone."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.graph import POOLING, WEIGHTED, Graph, Node

_TRAINING_ONLY = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout")
_SHAPES = ("Flatten", "Reshape")
_MONOTONE = ("MaxPooling2D", *_SHAPES)
_RELUS = ("relu", "relu6")


def rewrite(graph: Graph) -> tuple[Graph, str]:
    """Brings a graph to the form that is quantized.

    Returns:
        The graph, which now ends in logits, and the activation that made an answer of them:
        `softmax`, `sigmoid` or `none`.

    Raises:
        UnsupportedLayerError: a layer stands where no rewrite can deal with it.
    """
    graph = drop_training_layers(graph)
    graph = pool_by_convolution(graph)
    graph = split_separable(graph)
    graph = split_activations(graph)
    graph, activation = strip_output_activation(graph)
    graph = hoist_relu(graph)
    graph = fold_batch_norm(graph)
    graph = norm_by_convolution(graph)
    graph = fuse_relu(graph)
    for node in graph.nodes:
        if node.kind in ("BatchNormalization", "Activation"):
            raise UnsupportedLayerError(
                f"layer `{node.name}` ({node.kind}) cannot be compiled there: batch normalization "
                f"must directly follow one of {', '.join(WEIGHTED)}, ReLU one of these or Add; "
                "softmax and sigmoid can only come last"
            )
    last = graph.nodes[-1]
    while last.kind in _SHAPES:
        last = graph.node(last.inputs[0])
    if last.kind not in WEIGHTED:
        raise UnsupportedLayerError(
            f"the model ends in `{graph.nodes[-1].name}`: expected one of {', '.join(WEIGHTED)}, "
            "with or without a softmax or sigmoid"
        )
    return graph, activation


def drop_training_layers(graph: Graph) -> Graph:
    """Takes out what does nothing at inference."""
    for node in graph.nodes:
        linear = node.kind == "Activation" and node.config["activation"] == "linear"
        if node.kind in _TRAINING_ONLY or linear:
            graph = graph.without(node.name)
    return graph


def pool_by_convolution(graph: Graph) -> Graph:
    """Makes an average a depthwise convolution with equal weights, and a flattening after it.

    The engines round a mean each in its own way, but a convolution in the same.
    """
    for name in [node.name for node in graph.nodes if node.kind in POOLING]:
        node = graph.node(name)
        *image, channels = node.config["input_shape"]
        size = tuple(node.config.get("pool_size", image))
        config = {
            "depth_multiplier": 1,
            "kernel_size": size,
            "strides": tuple(node.config.get("strides", (1, 1))),
            "padding": "valid",
            "dilation_rate": (1, 1),
            "use_bias": False,
            "activation": "linear",
        }
        kernel = np.full((*size, channels, 1), 1 / np.prod(size), np.float32)
        weights = {WEIGHTED["DepthwiseConv2D"]: kernel}
        mean = Node(name, "DepthwiseConv2D", node.inputs, config, weights)
        graph = graph.replaced(mean)
        if node.kind == "GlobalAveragePooling2D" and not node.config["keepdims"]:
            graph = graph.inserted(mean, Node(f"{name}/flatten", "Flatten", (name,)))
    return graph


def split_separable(graph: Graph) -> Graph:
    """Makes a separable convolution the two that it is: depthwise, then 1 x 1."""
    for name in [node.name for node in graph.nodes if node.kind == "SeparableConv2D"]:
        node = graph.node(name)
        shared = {key: node.config[key] for key in ("strides", "padding", "dilation_rate")}
        first = Node(
            name,
            "DepthwiseConv2D",
            node.inputs,
            {
                **shared,
                "kernel_size": node.config["kernel_size"],
                "depth_multiplier": node.config["depth_multiplier"],
                "use_bias": False,
                "activation": "linear",
            },
            {WEIGHTED["DepthwiseConv2D"]: node.weights["depthwise_kernel"]},
        )
        weights = {"kernel": node.weights["pointwise_kernel"]}
        if node.config["use_bias"]:
            weights["bias"] = node.weights["bias"]
        config = {key: node.config[key] for key in ("filters", "use_bias", "activation")}
        second = Node(
            f"{name}/pointwise", "Conv2D", (name,), {**config, "kernel_size": (1, 1)}, weights
        )
        graph = graph.replaced(first).inserted(first, second)
    return graph


def split_activations(graph: Graph) -> Graph:
    """Makes every activation a layer of its own, `Activation`, so that there is one form of it."""
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        six = node.kind == "ReLU" and node.config["max_value"] is not None
        relu = "relu6" if six else "relu"
        activation = {"ReLU": relu, "Softmax": "softmax"}.get(node.kind)
        if activation is not None:
            node = replace(node, kind="Activation", config={"activation": activation})
        nodes.append(node)
        if node.kind in WEIGHTED and node.config["activation"] != "linear":
            own = f"{node.name}/{node.config['activation']}"  # no layer's name holds a slash
            nodes[-1] = replace(node, config={**node.config, "activation": "linear"})
            nodes.append(
                Node(own, "Activation", (node.name,), {"activation": node.config["activation"]})
            )
            renamed[node.name] = own
    return Graph(tuple(nodes))


def strip_output_activation(graph: Graph) -> tuple[Graph, str]:
    """Takes off a last softmax or sigmoid: the runtime applies it in float (FP32) instead."""
    last = graph.nodes[-1]
    activation = last.config.get("activation")
    if last.kind == "Activation" and activation in ("softmax", "sigmoid"):
        return graph.without(last.name), str(activation)
    return graph, "none"


def hoist_relu(graph: Graph) -> Graph:
    """Moves a ReLU before the max-pooling or flattening it follows: `relu(max(x)) = max(relu(x))`.

    There it can be fused into the layer that multiplies.
    """
    moved = True
    while moved:
        moved = False
        for relu in graph.nodes:
            if relu.kind != "Activation":
                continue
            before = graph.node(relu.inputs[0])
            if before.kind in _MONOTONE and len(graph.readers(before.name)) == 1:
                graph = _swap(graph, before, relu)
                moved = True
                break
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
        config = {
            "depth_multiplier": 1,
            "kernel_size": (1, 1),
            "use_bias": True,
            "activation": "linear",
        }
        weights = {
            WEIGHTED["DepthwiseConv2D"]: factor.reshape(1, 1, -1, 1).astype(np.float32),
            "bias": offset.astype(np.float32),
        }
        graph = graph.replaced(Node(node.name, "DepthwiseConv2D", node.inputs, config, weights))
    return graph


def _affine(norm: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The factor and the offset, `float64 (C,)`, that a batch normalization is at inference."""
    w = {name: values.astype(np.float64) for name, values in norm.weights.items()}
    factor = w.get("gamma", 1.0) / np.sqrt(w["moving_variance"] + norm.config["epsilon"])
    return factor, w.get("beta", 0.0) - w["moving_mean"] * factor


def fuse_relu(graph: Graph) -> Graph:
    """Makes a ReLU the activation of the layer that multiplies or adds before it."""
    for name in [node.name for node in graph.nodes]:
        relu = graph.node(name)
        if relu.kind != "Activation" or relu.config["activation"] not in _RELUS:
            continue
        layer = graph.node(relu.inputs[0])
        if layer in graph.ranged and len(graph.readers(layer.name)) == 1:
            both = (layer.config.get("activation"), relu.config["activation"])
            config = {**layer.config, "activation": "relu6" if "relu6" in both else "relu"}
            graph = graph.replaced(replace(layer, config=config)).without(relu.name)
    return graph


def _swap(graph: Graph, first: Node, second: Node) -> Graph:
    """Exchanges two neighbours, each the only one at its side."""
    nodes = [node for node in graph.nodes if node not in (first, second)]
    place = graph.nodes.index(first)
    pair = [replace(second, inputs=first.inputs), replace(first, inputs=(second.name,))]
    after = [
        replace(node, inputs=tuple(first.name if i == second.name else i for i in node.inputs))
        for node in nodes[place:]
    ]
    return Graph((*nodes[:place], *pair, *after))
