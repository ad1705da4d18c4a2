"""Readers of the operators that multiply by weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.moving import Slice, Transpose
from tinsmith_export.ir.ops import (
    Conv2D,
    Convolution,
    Dense,
    DepthToSpace,
    DepthwiseConv2D,
    Node,
    Pair,
    Reshape,
    ZeroPadding2D,
)
from tinsmith_export.ir.unrewritten import SpaceToBatch

_NO_PADDING = ((0, 0), (0, 0))


def conv(reader: Reader, operator: Operator) -> Node:
    """A convolution or depthwise convolution of an image."""
    source, kernel = reader.image(operator), reader.weights(operator)
    settings = operator.settings
    padding = settings["padding"].decode().lower()
    if padding == "explicit":
        raise reader.unsupported(operator, "explicit padding")
    place = reader.place(operator)
    strides, dilation = (
        (int(sizes[1]), int(sizes[2])) for sizes in (settings["strides"], settings["dilations"])
    )
    groups = source.shape[-1] // kernel.shape[2]
    if operator.kind == "DepthwiseConv2dNative" or groups == source.shape[-1] > 1:
        if operator.kind != "DepthwiseConv2dNative":
            # Output channel c * M + m, as a depthwise kernel (kh, kw, C, M) has it.
            kernel = kernel.reshape(*kernel.shape[:2], groups, kernel.shape[3] // groups)
        return reader.add(
            DepthwiseConv2D(
                *place, kernel=kernel, strides=strides, padding=padding, dilation_rate=dilation
            )
        )
    return reader.add(
        Conv2D(
            *place,
            kernel=kernel,
            strides=strides,
            padding=padding,
            dilation_rate=dilation,
            groups=groups,
            shared=reader.shared(operator),
        )
    )


def transposed_conv(reader: Reader, operator: Operator) -> Node:
    """A transposed convolution as one on small pixels: a channel for each place between them.

    `out[s * q + r] = sum_j in[q - j] * w[s * j + r]`, which needs no multiplications by the zeros
    that stride `s` puts between the pixels (Shi et al. 2016). A dilated one of tf_keras stands
    between `SpaceToBatch` and the reverse of it.
    """
    source, kernel = reader.source(operator, 2), reader.weights(operator)
    settings, block = operator.settings, tuple(operator.settings["strides"][1:3])
    if settings["data_format"] != b"NHWC" or len(source.shape) != 3:
        raise reader.unsupported(operator, "images of the form (H, W, C)")
    dilation, amounts = settings["dilations"][1:3], _NO_PADDING
    parts = (1, 1)
    if isinstance(source, SpaceToBatch):
        parts = dilation = source.block.tolist()
        amounts, source = source.amounts.tolist(), reader.nodes[source.inputs[0]]
    taps, pads, crops = [], [], []
    for axis in (0, 1):
        size, stride, part = source.shape[axis] + sum(amounts[axis]), block[axis], parts[axis]
        length, out = (kernel.shape[axis] - 1) * dilation[axis] + 1, operator.shape[1 + axis] * part
        reach = -(-length // stride)
        cut = max((size - part) * stride + length - 1 + part - out, 0) // (2 * part) * part
        first, last = cut // stride, (cut + out - 1) // stride
        before, after = amounts[axis]
        taps.append(reach)
        pads.append((reach - 1 - first + before, last - size + 1 + after))
        begin = cut - first * stride
        crops.append((begin, (last - first + 1) * stride - begin - out))
    whole = np.zeros((taps[0] * block[0], taps[1] * block[1], *kernel.shape[2:]), np.float32)
    rows, columns = ((n - 1) * d + 1 for n, d in zip(kernel.shape[:2], dilation, strict=True))
    whole[: rows : dilation[0], : columns : dilation[1]] = kernel
    split = whole.reshape(taps[0], block[0], taps[1], block[1], *kernel.shape[2:])[::-1, :, ::-1]
    kernel = split.transpose(0, 2, 5, 1, 3, 4).reshape(*taps, kernel.shape[3], -1)
    conv = Conv2D(*reader.place(operator, [source]), kernel=kernel)
    node = _side_by_side(
        reader, operator, _padded_conv(reader, operator, conv, source, pads), (block[0], block[1])
    )
    return _cropped(reader, operator, node, crops)


def _side_by_side(reader: Reader, operator: Operator, node: Node, block: Pair) -> Node:
    """Makes blocks of pixels of channels, `(rows, columns, channels)` of a block in a row."""
    (rows, columns, many), (height, width) = node.shape, block
    channels = many // (height * width)
    place = reader.place(operator, [node], (rows * height, columns * width, channels))
    if height == width > 1:
        return reader.add(DepthToSpace(*place, block=height))
    if height > 1:
        apart, order = (rows, columns, height, width, channels), (0, 2, 1, 3, 4)
        node = reader.add(Reshape(*reader.place(operator, [node], apart)))
        turned = reader.place(operator, [node], tuple(apart[axis] for axis in order))
        node = reader.add(Transpose(*turned, permutation=order))
        return reader.add(Reshape(*reader.place(operator, [node], place[2])))
    return reader.add(Reshape(*place)) if width > 1 else node


def _cropped(
    reader: Reader, operator: Operator, node: Node, crops: Sequence[Sequence[int]]
) -> Node:
    """An image without rows and columns, as many as `crops` says before and after."""
    if not np.any(crops):
        return node
    (top, bottom), (left, right) = crops
    rows, columns, channels = node.shape
    place = reader.place(operator, [node], (rows - top - bottom, columns - left - right, channels))
    return reader.add(Slice(*place, begin=(top, left, 0), steps=(1, 1, 1)))


def _padded_conv(
    reader: Reader, operator: Operator, conv: Convolution, source: Node, pads: Sequence[Pair]
) -> Convolution:
    """Adds a convolution of stride 1 with zeros before and after rows and columns.

    Args:
        reader: to add it to.
        operator: whose it is.
        conv: kernel and dilation are its own; what it reads, shape and padding come of the rest.
        source: what it reads.
        pads: rows and columns of zeros, before and after.
    """
    reach = [
        (size - 1) * step
        for size, step in zip(conv.kernel.shape[:2], conv.dilation_rate, strict=True)
    ]
    same = all(tuple(pad) == (r // 2, r - r // 2) for pad, r in zip(pads, reach, strict=True))
    rows, columns = (
        size + sum(pad) - r for size, pad, r in zip(source.shape[:2], pads, reach, strict=True)
    )
    if not same and np.any(pads):
        height, width = (s + sum(pad) for s, pad in zip(source.shape[:2], pads, strict=True))
        (top, bottom), (left, right) = pads
        place = reader.place(operator, [source], (height, width, source.shape[2]))
        source = reader.add(ZeroPadding2D(*place, padding=((top, bottom), (left, right))))
    return reader.add(
        replace(
            conv,
            name=operator.layer,
            inputs=(source.name,),
            shape=(rows, columns, conv.channels),
            padding="same" if same else "valid",
        )
    )


def space_to_batch(reader: Reader, operator: Operator) -> Node:
    """How TensorFlow spells a dilated convolution: this, a plain one, and the reverse of this.

    A sequence is an image of one row here: TensorFlow makes it one in between.
    """
    block, padding = (reader.known(operator, index) for index in (1, 2))
    source, shape = reader.source(operator), operator.shape[1:]
    if len(source.shape) == 2 and len(block) == 1:
        source, shape = reader.row(operator, source), (1, *shape)
        block, padding = np.append(1, block), np.concatenate([[[0, 0]], padding])
    elif len(reader.image(operator).shape) != len(block) + 1:
        raise reader.unsupported(operator, "a dilation over rows and columns")
    place = reader.place(operator, [source], shape)
    return reader.add(SpaceToBatch(*place, block=block, amounts=padding))


def batch_to_space(reader: Reader, operator: Operator) -> Node:
    """The other end of that; see `space_to_batch`."""
    conv, crops = reader.source(operator), reader.known(operator, 2)
    whole = tuple(size + sum(cut) for size, cut in zip(operator.shape[1:], crops, strict=False))
    if conv.shape[:2] == whole:  # a transposed one, which is whole already
        return _cropped(reader, operator, conv, crops.tolist())
    space = reader.nodes[conv.inputs[0]]
    if not isinstance(conv, Convolution) or not isinstance(space, SpaceToBatch):
        raise reader.unsupported(operator, f"TensorFlow's operator {operator.kind} there")
    if len(operator.shape) == 3:
        crops = np.concatenate([[[0, 0]], crops])
    pads = (space.amounts - crops).tolist()
    for name in (conv.name, space.name):
        del reader.nodes[name]
    rows, columns = space.block.tolist()
    dilated = replace(conv, strides=(1, 1), dilation_rate=(rows, columns))
    found = _padded_conv(reader, operator, dilated, reader.nodes[space.inputs[0]], pads)
    if found.shape == operator.shape[1:]:
        return found
    return reader.add(Reshape(*reader.place(operator, [found])))


def dense(reader: Reader, operator: Operator) -> Node:
    """A product with a matrix of weights: a dense layer."""
    kernel, settings = reader.weights(operator), operator.settings
    if settings.get("transpose_b") or settings.get("adj_y"):
        kernel = kernel.T
    if kernel.ndim != 2 or settings.get("transpose_a") or settings.get("adj_x"):
        raise reader.unsupported(operator, "weights that are one matrix, on the right side")
    source = reader.source(operator)
    shape = (*source.shape[:-1], kernel.shape[1])
    return reader.add(Dense(*reader.place(operator, shape=shape), kernel=kernel))
