"""Rewrites of the graph into the few layers that quantize well; each leaves the outputs alone."""

from dataclasses import replace

from tinsmith_export.convolutions import (
    fold_batch_norm,
    norm_by_convolution,
    pool_by_convolution,
    split_separable,
)
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.graph import RELUS, WEIGHTED, Graph, Node

_TRAINING_ONLY = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout")
_SHAPES = ("Flatten", "Reshape")
_MONOTONE = ("MaxPooling2D", *_SHAPES)


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
        lone_relu = node.config.get("activation") in RELUS and _has_range(graph, node)
        if node.kind in ("BatchNormalization", "Activation") and not lone_relu:
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


def _has_range(graph: Graph, node: Node) -> bool:
    """Whether what a layer reads comes from layers with a range of their own."""
    ranged = {other.name for other in graph.ranged}
    return all(graph.sources(name) <= ranged for name in node.inputs)


def fuse_relu(graph: Graph) -> Graph:
    """Makes a ReLU the activation of the layer that multiplies or adds before it."""
    for name in [node.name for node in graph.nodes]:
        relu = graph.node(name)
        if relu.kind != "Activation" or relu.config["activation"] not in RELUS:
            continue
        layer = graph.node(relu.inputs[0])
        if layer.kind in (*WEIGHTED, "Add") and len(graph.readers(layer.name)) == 1:
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
