"""How each operator of the graph is written to an ONNX file, float or int8 alike."""

from dataclasses import replace
from functools import singledispatch

import numpy as np
from onnx import TensorProto

from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Concatenate,
    Conv2D,
    Convolution,
    DepthToSpace,
    Maximum,
    MaxPooling2D,
    Minimum,
    Multiply,
    Node,
    Reshape,
    UpSampling2D,
    Weigh,
    ZeroPadding2D,
)
from tinsmith_export.targets.onnx.functions import write_function
from tinsmith_export.targets.onnx.normalization import (
    write_group_normalization,
    write_layer_normalization,
)
from tinsmith_export.targets.onnx.writer import FloatWriter


@singledispatch
def write(node: Node, writer: FloatWriter) -> str:
    """Writes a node and gives the tensor of its output."""
    raise TypeError(f"{node.kind} has no form in ONNX")


def _pads(
    node: Convolution | MaxPooling2D,
    source: Node,
    size: tuple[int, ...],
    dilation: tuple[int, int] = (1, 1),
) -> list[int]:
    """Padding before and after rows and columns, as TensorFlow's "same" has it."""
    if node.padding != "same":
        return [0, 0, 0, 0]
    pads = []
    for axis in (0, 1):
        reach = (size[axis] - 1) * dilation[axis] + 1
        step = node.strides[axis]
        total = max((node.shape[axis] - 1) * step + reach - source.shape[axis], 0)
        pads.append((total // 2, total - total // 2))
    return [*(before for before, _ in pads), *(after for _, after in pads)]


@write.register
def _(node: Convolution, writer: FloatWriter) -> str:
    graph, pads = writer.graph, np.zeros(4, np.int64)
    source = graph.node(node.inputs[0])
    groups = node.groups if isinstance(node, Conv2D) else source.shape[-1]
    one_place = source.shape[:2] == node.kernel.shape[:2] == (1, 1)
    if one_place and isinstance(node, Conv2D) and groups == 1:
        return _dense(writer, node)
    reader: Node = node
    while isinstance(source, ZeroPadding2D) and node.padding == "valid":
        (top, bottom), (left, right) = source.padding
        pads += (top, left, bottom, right)
        reader, source = source, graph.node(source.inputs[0])
    kernel = node.kernel.shape[:2]
    pads += np.array(_pads(node, source, kernel, node.dilation_rate))
    return writer.compute(
        "Conv",
        node,
        [writer.reals(reader), *writer.weights(node)],
        kernel_shape=kernel,
        strides=node.strides,
        dilations=node.dilation_rate,
        pads=pads.tolist(),
        group=groups,
    )


def _dense(writer: FloatWriter, node: Conv2D) -> str:
    """A 1 x 1 convolution of one place is a matrix product, which takes a batch in one go."""
    flat = writer.flat(node)
    kernel, *bias = writer.weights(node, matrix=True)
    rows = writer.compute("Gemm", node, [flat, kernel, *bias], transB=1)
    return writer.view(rows, (node.channels,), (node.channels, 1, 1))


@write.register
def _(node: Add, writer: FloatWriter) -> str:
    return writer.compute("Add", node, [writer.reals(node, 0), writer.reals(node, 1)])


@write.register
def _(node: Multiply, writer: FloatWriter) -> str:
    return writer.compute("Mul", node, [writer.reals(node, 0), writer.reals(node, 1)])


@write.register
def _(node: MatMul, writer: FloatWriter) -> str:
    factors = [writer.channels_last_reals(node, index) for index in (0, 1)]
    return writer.to_channels_first(writer.compute("MatMul", node, factors), node.shape)


@write.register
def _(node: Maximum, writer: FloatWriter) -> str:
    return writer.moved("Max", node, [writer.source(node, 0), writer.source(node, 1)])


@write.register
def _(node: Minimum, writer: FloatWriter) -> str:
    return writer.moved("Min", node, [writer.source(node, 0), writer.source(node, 1)])


@write.register
def _(node: Weigh, writer: FloatWriter) -> str:
    return writer.compute("Mul", node, [writer.reals(node), writer.factor(node)])


write.register(write_function)


write.register(write_layer_normalization)
write.register(write_group_normalization)


@write.register
def _(node: Embedding, writer: FloatWriter) -> str:
    source = writer.graph.node(node.inputs[0])
    low_high = writer.channels_last_reals(replace(node, shape=source.shape))
    factors, axis, last = (
        writer.constant(f"{node.name}.{name}", values)
        for name, values in (
            ("factors", np.array([1, 256], np.float32)),
            ("axis", np.array([-1])),
            ("last", np.array(len(node.table) - 1)),
        )
    )
    parts = writer.step("Mul", node, "parts", [low_high, factors])
    numbers = writer.step("ReduceSum", node, "numbers", [parts, axis], keepdims=0)
    ids = writer.step("Cast", node, "ids", [numbers], to=TensorProto.INT64)
    rows = writer.step("Min", node, "rows", [ids, last])
    found = writer.moved("Gather", node, [writer.table(node), rows], axis=0)
    return writer.to_channels_first(found, node.shape)


@write.register
def _(node: Softmax, writer: FloatWriter) -> str:
    parts = writer.compute("Softmax", node, [writer.channels_last_reals(node)], axis=-1)
    return writer.to_channels_first(parts, node.shape)


@write.register
def _(node: Clip, writer: FloatWriter) -> str:
    return writer.clip(node, writer.source(node))


@write.register
def _(node: Concatenate, writer: FloatWriter) -> str:
    tensors = [writer.source(node, index) for index in range(len(node.inputs))]
    return writer.moved("Concat", node, tensors, axis=writer.stored_axes(node.shape)[node.axis])


@write.register
def _(node: MaxPooling2D, writer: FloatWriter) -> str:
    source = writer.graph.node(node.inputs[0])
    return writer.moved(
        "MaxPool",
        node,
        [writer.source(node)],
        kernel_shape=node.pool_size,
        strides=node.strides,
        pads=_pads(node, source, node.pool_size),
    )


@write.register
def _(node: ZeroPadding2D, writer: FloatWriter) -> str:
    (top, bottom), (left, right) = node.padding
    amounts = writer.constant(
        f"{node.name}.amounts", np.array([0, 0, top, left, 0, 0, bottom, right])
    )
    zero = writer.constant(f"{node.name}.zero", writer.zero(node))
    return writer.moved("Pad", node, [writer.source(node), amounts, zero])


@write.register
def _(node: UpSampling2D, writer: FloatWriter) -> str:
    scales = writer.constant(f"{node.name}.scales", np.array([1, 1, *node.size], "f4"))
    return writer.moved(
        "Resize",
        node,
        [writer.source(node), "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@write.register
def _(node: DepthToSpace, writer: FloatWriter) -> str:
    return writer.moved(
        "DepthToSpace", node, [writer.source(node)], blocksize=node.block, mode="DCR"
    )


@write.register
def _(node: Reshape, writer: FloatWriter) -> str:
    source = writer.graph.node(node.inputs[0])
    flat = writer.to_channels_last(writer.source(node), source.shape)
    return writer.to_channels_first(writer.view(flat, source.shape, node.shape), node.shape)


@write.register
def _(node: Transpose, writer: FloatWriter) -> str:
    stored = writer.stored_axes(node.shape)
    perm = [0] * (len(stored) + 1)
    for place, axis in zip(stored, node.permutation, strict=True):
        perm[place] = stored[axis]
    return writer.moved("Transpose", node, [writer.source(node)], perm=perm)


@write.register
def _(node: Slice, writer: FloatWriter) -> str:
    whole = writer.graph.node(node.inputs[0]).shape
    parts = {
        axis: part
        for axis, part, size in zip(writer.stored_axes(whole), node.slices(), whole, strict=True)
        if range(size)[part] != range(size)
    }
    # An end before the first place is not to be -1, which is the last.
    before = -(2**31)
    columns = {
        "first": [part.start for part in parts.values()],
        "end": [before if part.stop is None else part.stop for part in parts.values()],
        "axes": list(parts),
        "steps": [part.step for part in parts.values()],
    }
    limits = [
        writer.constant(f"{node.name}.{name}", np.array(values, np.int64))
        for name, values in columns.items()
    ]
    return writer.moved("Slice", node, [writer.source(node), *limits])


@write.register
def _(node: Gather, writer: FloatWriter) -> str:
    indices = writer.constant(f"{node.name}.indices", np.array(node.indices, np.int64))
    axis = writer.stored_axes(node.shape)[node.axis]
    return writer.moved("Gather", node, [writer.source(node), indices], axis=axis)
