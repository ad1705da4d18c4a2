"""Finds functions that Keras spells out in several operators, and spells out others."""

import math
from dataclasses import replace

import numpy as np

from tinsmith_export.affine import affine_of, scalars_of
from tinsmith_export.graph import Graph, Node


def find_gelu(graph: Graph) -> Graph:
    """Finds GELU, `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel 2016)."""
    for name in [node.name for node in graph.nodes if node.kind == "Multiply"]:
        product = graph.node(name)
        for left, right in (product.inputs, product.inputs[::-1]):
            x, factor, offset = _peel(graph, left)
            gate, gate_factor, gate_offset = _peel(graph, right)
            function = gate.config.get("function")
            if function not in ("erf", "erfc"):
                continue
            argument, scale, shift = _peel(graph, gate.inputs[0])
            one, sign = (gate_factor, 1.0) if function == "erf" else (0.0, -1.0)
            if (
                argument.name == x.name
                and offset == shift == 0
                and math.isclose(factor * gate_factor, 0.5, rel_tol=1e-5)
                and math.isclose(gate_offset, one, abs_tol=1e-6)
                and math.isclose(scale, sign / math.sqrt(2), rel_tol=1e-5)
            ):
                gelu = replace(
                    product, kind="Function", inputs=(x.name,), config={"function": "gelu"}
                )
                graph = graph.replaced(gelu)
                break
    return graph.pruned()


def _peel(graph: Graph, name: str) -> tuple[Node, float, float]:
    """What lies below an affine layer of scalars, and these."""
    node = graph.node(name)
    scalars = scalars_of(node) if node.kind == "Affine" else None
    if scalars is None:
        return node, 1.0, 0.0
    return graph.node(node.inputs[0]), *scalars


def find_layer_norm(graph: Graph) -> Graph:
    """Finds layer normalization over the channels (Ba et al. 2016).

    It comes as `x * s + (beta - mean * s)`, `s = gamma / sqrt(variance + epsilon)`.
    """
    for name in [node.name for node in graph.nodes if node.kind == "Add"]:
        total = graph.node(name)
        for left, right in (total.inputs, total.inputs[::-1]):
            found = _layer_norm(graph, total, graph.node(left), graph.node(right))
            if found is not None:
                graph = graph.replaced(found)
                break
    return graph.pruned()


def _layer_norm(graph: Graph, total: Node, scaled: Node, shift: Node) -> Node | None:
    product, sign, beta = shift, np.ones(1), np.zeros(total.shape[-1])
    if shift.kind == "Affine":
        product, (sign, beta) = graph.node(shift.inputs[0]), affine_of(shift)
    if scaled.kind != "Multiply":
        return None
    shared = set(scaled.inputs) & set(product.inputs)
    if product.kind != "Multiply" or len(shared) != 1 or len(set(sign)) != 1:
        return None
    (scale_name,) = shared
    (x_name,), (mean_name,) = (set(node.inputs) - shared for node in (scaled, product))
    mean, mean_sign, _ = _peel(graph, mean_name)
    scale = graph.node(scale_name)
    gamma = np.ones(total.shape[-1])
    if scale.kind == "Affine":
        gamma, _ = affine_of(scale)
        scale = graph.node(scale.inputs[0])
    if scale.config.get("function") != "rsqrt" or mean.kind != "ChannelMean":
        return None
    variance, _, epsilon = _peel(graph, scale.inputs[0])
    if mean.inputs != (x_name,) or variance.kind != "ChannelMean" or sign[0] * mean_sign != -1:
        return None
    weights = {"gamma": gamma.astype(np.float32), "beta": beta.astype(np.float32)}
    return replace(
        total,
        kind="LayerNormalization",
        inputs=(x_name,),
        config={"epsilon": epsilon},
        weights=weights,
    )


def split_leaky_relu(graph: Graph) -> Graph:
    """Makes a leaky ReLU `max((1 - slope) * x, 0) + slope * x`, which runs on integers."""
    for name in [node.name for node in graph.nodes if node.kind == "LeakyReLU"]:
        node = graph.node(name)
        slope = node.config["negative_slope"]
        parts = []
        for part, factor in (("positive", 1 - slope), ("both", slope)):
            weights = {"factor": np.asarray(factor, "f4"), "offset": np.zeros((), "f4")}
            parts.append(Node(f"{name}/{part}", "Affine", node.inputs, node.shape, {}, weights))
        clip = Node(f"{name}/relu", "Clip", (parts[0].name,), node.shape, {"clip": (0.0, None)})
        total = Node(name, "Add", (clip.name, parts[1].name), node.shape)
        graph = graph.replaced(total, *parts, clip)
    return graph


def join_upsamplings(graph: Graph) -> Graph:
    """Makes one of two upsamplings in a row, rows and columns: Keras 3 does one after the other."""
    for name in [node.name for node in graph.nodes if node.kind == "UpSampling2D"]:
        second = graph.node(name)
        first = graph.node(second.inputs[0])
        if first.kind == "UpSampling2D" and graph.only_reader(first.name) is not None:
            size = tuple(np.multiply(first.config["size"], second.config["size"]).tolist())
            graph = graph.replaced(second.configured(size=size)).without(first.name)
    return graph
