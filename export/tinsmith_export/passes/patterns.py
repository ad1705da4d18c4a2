"""Finds functions that Keras spells out in several operators, and spells out others."""

import math
from dataclasses import replace

import numpy as np

from tinsmith_export.ir.attention import Softmax
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import (
    RELU,
    Add,
    Affine,
    Clip,
    Function,
    Multiply,
    Node,
    Rearrangement,
    Reshape,
    UpSampling2D,
)
from tinsmith_export.ir.unrewritten import LeakyReLU
from tinsmith_export.passes.affine import scalars_of
from tinsmith_export.passes.rule import for_each

# What is masked before a softmax: no other number is nearly as low.
_NEVER = -1e4


def find_gelu(graph: Graph) -> Graph:
    """Finds GELU, `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel 2016)."""
    for product in [node for node in graph.nodes if isinstance(node, Multiply)]:
        for left, right in (product.inputs, product.inputs[::-1]):
            x, factor, offset = _peel(graph, left)
            gate, gate_factor, gate_offset = _peel(graph, right)
            if not isinstance(gate, Function) or gate.function not in ("erf", "erfc"):
                continue
            argument, scale, shift = _peel(graph, gate.inputs[0])
            one, sign = (gate_factor, 1.0) if gate.function == "erf" else (0.0, -1.0)
            if (
                argument.name == x.name
                and offset == shift == 0
                and math.isclose(factor * gate_factor, 0.5, rel_tol=1e-5)
                and math.isclose(gate_offset, one, abs_tol=1e-6)
                and math.isclose(scale, sign / math.sqrt(2), rel_tol=1e-5)
            ):
                gelu = Function(product.name, (x.name,), product.shape, function="gelu")
                graph = graph.replaced(gelu)
                break
    return graph.pruned()


def _peel(graph: Graph, name: str) -> tuple[Node, float, float]:
    """What lies below an affine layer of scalars, and these."""
    node = graph.node(name)
    scalars = scalars_of(node) if isinstance(node, Affine) else None
    if scalars is None:
        return node, 1.0, 0.0
    return graph.node(node.inputs[0]), *scalars


@for_each(Multiply)
def square_before_reshape(graph: Graph, node: Multiply) -> Graph:
    """Squares an image rather than what it is reshaped to.

    Of a square between two reshapes TensorFlow's converter makes one whose scales are wrong.
    """
    source = graph.node(node.inputs[0])
    if not isinstance(source, Reshape) or set(node.inputs) != {source.name}:
        return graph
    shape = graph.node(source.inputs[0]).shape
    inner = replace(node, name=f"{node.name}/square", inputs=source.inputs * 2, shape=shape)
    return graph.replaced(Reshape(node.name, (inner.name,), node.shape), inner).pruned()


@for_each(Affine)
def limit_masks(graph: Graph, node: Affine) -> Graph:
    """Adds less of what a mask adds before a softmax, -1e9 for example: no scale is as coarse."""
    readers = list(graph.readers(node.name))
    for reader in readers:  # it grows
        if isinstance(reader, Rearrangement):
            readers += graph.readers(reader.name)
        elif not isinstance(reader, Softmax):
            return graph
    offset = np.maximum(node.offset, np.float32(_NEVER))
    return graph.replaced(replace(node, offset=offset)) if readers else graph


@for_each(LeakyReLU)
def split_leaky_relu(graph: Graph, node: LeakyReLU) -> Graph:
    """Makes a leaky ReLU `max((1 - slope) * x, 0) + slope * x`, which runs on integers."""
    name, slope = node.name, node.negative_slope
    positive, both = (
        Affine(
            f"{name}/{part}",
            node.inputs,
            node.shape,
            factor=np.asarray(factor, "f4"),
            offset=np.zeros((), "f4"),
        )
        for part, factor in (("positive", 1 - slope), ("both", slope))
    )
    clip = Clip(f"{name}/relu", (positive.name,), node.shape, clip=RELU)
    total = Add(name, (clip.name, both.name), node.shape)
    return graph.replaced(total, positive, both, clip)


@for_each(UpSampling2D)
def join_upsamplings(graph: Graph, second: UpSampling2D) -> Graph:
    """Makes one of two upsamplings in a row, rows and columns: Keras 3 does one after the other."""
    first = graph.node(second.inputs[0])
    if not isinstance(first, UpSampling2D):
        return graph
    if graph.only_reader(first.name) is not None:
        (rows, columns), (more_rows, more_columns) = first.size, second.size
        size = rows * more_rows, columns * more_columns
        graph = graph.replaced(replace(second, size=size)).without(first.name)
    return graph
