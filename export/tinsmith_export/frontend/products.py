"""Readers of the operators that multiply by weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.moving import Slice
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
    that stride `s` puts between the pixels (Shi et al. 2016).
    """
    source, kernel = reader.source(operator, 2), reader.weights(operator)
    settings, block = operator.settings, tuple(operator.settings["strides"][1:3])
    uneven = block[0] != block[1] and block[0] != 1
    if settings["data_format"] != b"NHWC" or len(source.shape) != 3 or uneven:
        raise reader.unsupported(operator, "images of the form (H, W, C) and one stride")
    if set(settings["dilations"]) != {1}:
        raise reader.unsupported(operator, "a dilation of 1")
    channels = operator.shape[3]
    taps, pads, crops = [], [], []
    for size, length, stride, out in zip(
        source.shape[:2], kernel.shape[:2], block, operator.shape[1:3], strict=True
    ):
        reach = -(-length // stride)
        cut = max((size - 1) * stride + length - out, 0) // 2
        first, last = cut // stride, (cut + out - 1) // stride
        taps.append(reach)
        pads.append((reach - 1 - first, last - size + 1))
        before = cut - first * stride
        crops.append((before, (last - first + 1) * stride - before - out))
    whole = np.zeros((taps[0] * block[0], taps[1] * block[1], *kernel.shape[2:]), np.float32)
    whole[: kernel.shape[0], : kernel.shape[1]] = kernel
    split = whole.reshape(taps[0], block[0], taps[1], block[1], *kernel.shape[2:])[::-1, :, ::-1]
    kernel = split.transpose(0, 2, 5, 1, 3, 4).reshape(*taps, kernel.shape[3], -1)
    conv = Conv2D(*reader.place(operator, [source]), kernel=kernel)
    node: Node = _padded_conv(reader, operator, conv, source, pads)
    rows, columns = node.shape[:2]
    place = reader.place(operator, [node], (rows * block[0], columns * block[1], channels))
    if block[0] > 1:
        node = reader.add(DepthToSpace(*place, block=block[0]))
    elif block[1] > 1:
        node = reader.add(Reshape(*place))
    if crops != [(0, 0), (0, 0)]:
        top, left = crops
        begin, steps = (top[0], left[0], 0), (1, 1, 1)
        node = reader.add(Slice(*reader.place(operator, [node]), begin=begin, steps=steps))
    return node


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
    """How TensorFlow spells a dilated convolution: this, a plain one, and the reverse of this."""
    reader.image(operator)
    block, padding = (reader.known(operator, index) for index in (1, 2))
    return reader.add(SpaceToBatch(*reader.place(operator), block=block, amounts=padding))


def batch_to_space(reader: Reader, operator: Operator) -> Node:
    """The other end of that; see `space_to_batch`."""
    conv = reader.source(operator)
    space = reader.nodes[conv.inputs[0]]
    if not isinstance(conv, Convolution) or not isinstance(space, SpaceToBatch):
        raise reader.unsupported(operator, f"TensorFlow's operator {operator.kind} there")
    pads = (space.amounts - reader.known(operator, 2)).tolist()
    for name in (conv.name, space.name):
        del reader.nodes[name]
    rows, columns = space.block.tolist()
    dilated = replace(conv, strides=(1, 1), dilation_rate=(rows, columns))
    return _padded_conv(reader, operator, dilated, reader.nodes[space.inputs[0]], pads)


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
