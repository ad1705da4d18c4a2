"""Rewrites of affine layers, `factor * x + offset` for each channel.

Batch normalization, a bias, `Rescaling`, `Normalization`, `x + 3` and `x / 6` are all one. Each
goes into a product before or behind it, or becomes a convolution of its own.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.convolutions import by_channel
from tinsmith_export.graph import WEIGHTED, Graph, Node

Vector = NDArray[np.float64]
FOLDING = (*WEIGHTED, "LayerNormalization")
_MOVING = ("Reshape", "Cropping2D", "UpSampling2D", "DepthToSpace")


def affine_of(node: Node) -> tuple[Vector, Vector]:
    """Factor and offset of an affine layer, `float64 (C,)`."""
    channels = node.shape[-1:]
    factor, offset = (node.weights[name].astype(np.float64) for name in ("factor", "offset"))
    return np.broadcast_to(factor, channels), np.broadcast_to(offset, channels)


def scalars_of(node: Node) -> tuple[float, float] | None:
    """Factor and offset of an affine layer that has one of each for all channels."""
    factor, offset = (np.unique(node.weights[name]) for name in ("factor", "offset"))
    return (float(factor[0]), float(offset[0])) if factor.size == offset.size == 1 else None


def merge_affines(graph: Graph) -> Graph:
    """Makes one of two affine layers in a row."""
    for name in [node.name for node in graph.nodes if node.kind == "Affine"]:
        second = graph.node(name)
        first = graph.node(second.inputs[0])
        if first.kind != "Affine" or graph.only_reader(first.name) is None:
            continue
        if first.shape != second.shape:
            continue
        (f1, o1), (f2, o2) = affine_of(first), affine_of(second)
        weights = {"factor": (f1 * f2).astype(np.float32), "offset": _f32(o1 * f2 + o2)}
        graph = graph.replaced(replace(second, weights=weights)).without(first.name)
    return graph


def fold_affine(graph: Graph) -> Graph:
    """Folds an affine layer into the product before it (Jacob et al. 2018, section 3.2).

    `factor * (w * a + b) + offset` is one product with scaled weights and one bias. Between them
    may stand what only moves values.
    """
    for name in [node.name for node in graph.nodes if node.kind == "Affine"]:
        affine = graph.node(name)
        layer, (factor, offset) = graph.node(affine.inputs[0]), affine_of(affine)
        while layer.kind in _MOVING and graph.only_reader(layer.name) is not None:
            source = graph.node(layer.inputs[0])
            # A block's places lie one after the other in the channels, each with all channels.
            times = source.shape[-1] // len(factor) if layer.kind == "DepthToSpace" else 1
            factor, offset = np.tile(factor, times), np.tile(offset, times)
            layer = source if len(factor) == source.shape[-1] else affine
        if layer.kind not in FOLDING or graph.only_reader(layer.name) is None:
            continue
        if layer.kind == "LayerNormalization":
            weights = {
                "gamma": _f32(layer.weights["gamma"] * factor),
                "beta": _f32(layer.weights["beta"] * factor + offset),
            }
            graph = graph.replaced(replace(layer, weights=weights)).without(affine.name)
            continue
        kernel_name = WEIGHTED[layer.kind]
        kernel = layer.weights[kernel_name]
        # A depthwise kernel is (kh, kw, C, M), its output channel c * M + m.
        scale = np.reshape(factor, kernel.shape[2:] if layer.kind == "DepthwiseConv2D" else (-1,))
        weights = {
            kernel_name: _f32(kernel * scale),
            "bias": _f32(layer.weights.get("bias", 0.0) * factor + offset),
        }
        graph = graph.replaced(replace(layer, weights=weights)).without(affine.name)
    return graph


def fold_affine_forward(graph: Graph) -> Graph:
    """Folds an affine layer into the product behind it, `w * (factor * x + offset) + b`.

    Not an offset before a padding: the zeros around the image have none.
    """
    for name in [node.name for node in graph.nodes if node.kind == "Affine"]:
        affine = graph.node(name)
        path = [affine]
        while (reader := graph.only_reader(path[-1].name)) is not None and reader.kind in (
            "Reshape",
            "ZeroPadding2D",
        ):
            path.append(reader)
        if reader is None or reader.kind not in WEIGHTED or reader.config.get("groups", 1) > 1:
            continue
        factor, offset = affine_of(affine)
        padded = reader.config.get("padding") == "same" or any(
            node.kind == "ZeroPadding2D" for node in path
        )
        if padded and np.any(offset):
            continue
        # Behind a flattening, a dense layer's input channels are those of all places.
        kernel_name = WEIGHTED[reader.kind]
        kernel = reader.weights[kernel_name]
        channels = kernel.shape[0 if reader.kind == "Dense" else 2]
        if channels % len(factor):
            continue
        factor, offset = (np.tile(v, channels // len(factor)) for v in (factor, offset))
        column = factor.reshape(-1, 1)
        if reader.kind == "DepthwiseConv2D":
            bias = (kernel.sum((0, 1), dtype=np.float64) * offset.reshape(-1, 1)).reshape(-1)
        else:
            bias = (kernel * offset.reshape(-1, 1)).reshape(-1, kernel.shape[-1]).sum(0)
        weights = {
            kernel_name: _f32(kernel * column),
            "bias": _f32(reader.weights.get("bias", 0.0) + bias),
        }
        graph = graph.replaced(replace(reader, weights=weights)).without(affine.name)
    return graph


def affine_by_convolution(graph: Graph) -> Graph:
    """Makes an affine layer that nothing could take a depthwise 1 x 1 convolution.

    That keeps a scale for each channel, which a product with one quantized vector would not.
    """
    for node in graph.nodes:
        if node.kind != "Affine" or graph.node(node.inputs[0]).shape != node.shape:
            continue
        factor, offset = affine_of(node)
        *before, last = by_channel(node, _f32(factor), _f32(offset))
        graph = graph.replaced(last, *before)
    return graph


def _f32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
