"""Quantized graphs of one product with weights, of every shape; no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from native_plans import quantized
from numpy.typing import NDArray

from tinsmith_export.ir import ops
from tinsmith_export.ir.ops import Conv2D, DepthwiseConv2D, Node
from tinsmith_export.ir.quantization import QuantGraph, QuantParams, QuantWeights
from tinsmith_export.ir.shapes import output_shape

Kind = TypeVar("Kind", bound=Node)


def shaped(node: Kind, *shapes: tuple[int, ...]) -> Kind:
    """The same node with the shape of its output."""
    return replace(node, shape=output_shape(node, shapes))


@dataclass(frozen=True)
class Case:
    """A product with weights; of a depthwise one, `outputs` is how many a channel gives."""

    image: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: ops.Padding
    groups: int
    inputs: int
    outputs: int
    depthwise: bool
    around: tuple[tuple[int, int], tuple[int, int]]
    weights: str
    seed: int
    source: QuantParams
    output: QuantParams


def kernel_codes(case: Case, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int8]:
    if case.weights == "random":
        return rng.integers(-127, 128, shape).astype(np.int8)
    if case.weights == "sparse":
        return (rng.integers(-127, 128, shape) * (rng.random(shape) < 0.2)).astype(np.int8)
    return np.full(shape, 127 if case.weights == "high" else -127, np.int8)


def product(case: Case) -> QuantGraph:
    """A product behind a padding."""
    rng = np.random.default_rng(case.seed)
    (rows, columns), each = case.image, 1 if case.depthwise else case.groups
    channels = case.inputs * each
    image = rows, columns, channels
    last = case.outputs if case.depthwise else case.outputs * case.groups
    size = (*case.kernel, channels if case.depthwise else case.inputs, last)
    kernel = np.zeros(size, np.float32)
    node: Conv2D | DepthwiseConv2D = Conv2D("y", ("pad",), (), kernel=kernel, groups=case.groups)
    if case.depthwise:
        node = DepthwiseConv2D("y", ("pad",), (), kernel=kernel)
    node = replace(node, strides=case.strides, padding=case.padding, dilation_rate=case.dilation)
    pad = shaped(ops.ZeroPadding2D("pad", ("x0",), (), padding=case.around), image)
    node = shaped(node, pad.shape)
    codes = kernel_codes(case, node.channel_kernel.shape, rng)
    # From sums that hardly move the output to ones beyond all codes.
    steps = 2 ** rng.uniform(-22, 1, node.channels)
    scale = (steps * case.output.scale / case.source.scale).astype(np.float32)
    bias = rng.integers(-(2 ** rng.integers(2, 30)), 2 ** rng.integers(2, 30), node.channels)
    weights = QuantWeights(codes, scale, bias=bias.astype(np.int32))
    params = {"x0": case.source, "pad": case.source, "y": case.output}
    return quantized(pad, node, shapes=[image], params=params, weights={"y": weights})
