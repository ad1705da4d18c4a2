"""Readers of the operators that multiply by weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.graph import WEIGHTED, Node
from tinsmith_export.trace import BATCH, Operator

if TYPE_CHECKING:
    from tinsmith_export.reader import Reader


def conv(reader: Reader, operator: Operator) -> str:
    """A convolution or depthwise convolution of an image."""
    source, kernel = reader.image(operator), reader.weights(operator)
    settings = operator.settings
    padding = settings["padding"].decode().lower()
    if padding == "explicit":
        raise reader.unsupported(operator, "explicit padding")
    config = {
        "strides": tuple(settings["strides"][1:3]),
        "padding": padding,
        "dilation_rate": tuple(settings["dilations"][1:3]),
    }
    if operator.kind == "DepthwiseConv2dNative":
        return reader.add(
            operator, "DepthwiseConv2D", weights={"depthwise_kernel": kernel}, **config
        )
    groups = source.shape[-1] // kernel.shape[2]
    if groups == source.shape[-1] > 1:
        # Output channel c * M + m, as a depthwise kernel (kh, kw, C, M) has it.
        shape = (*kernel.shape[:2], groups, kernel.shape[3] // groups)
        weights = {"depthwise_kernel": kernel.reshape(shape)}
        return reader.add(operator, "DepthwiseConv2D", weights=weights, **config)
    return reader.add(operator, "Conv2D", weights={"kernel": kernel}, groups=groups, **config)


def transposed_conv(reader: Reader, operator: Operator) -> str:
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
    node = _padded_conv(reader, operator, "Conv2D", source, {"kernel": kernel}, pads, groups=1)
    rows, columns = node.shape[:2]
    shape = (BATCH, rows * block[0], columns * block[1], channels)
    if block[0] > 1:
        name = reader.add(operator, "DepthToSpace", [node], shape=shape, block=block[0])
        node = reader.nodes[name]
    elif block[1] > 1:
        node = reader.nodes[reader.add(operator, "Reshape", [node], shape=shape)]
    if crops != [(0, 0), (0, 0)]:
        name = reader.add(operator, "Cropping2D", [node], cropping=tuple(crops))
        node = reader.nodes[name]
    return node.name


def _padded_conv(
    reader: Reader,
    operator: Operator,
    kind: str,
    source: Node,
    weights: dict[str, NDArray[np.float32]],
    pads: Sequence[tuple[int, int]],
    dilation: tuple[int, ...] = (1, 1),
    **config: Any,
) -> Node:
    """A convolution of stride 1 with zeros before and after rows and columns."""
    (kernel,) = weights.values()
    reach = [(size - 1) * step for size, step in zip(kernel.shape[:2], dilation, strict=True)]
    same = all(tuple(pad) == (r // 2, r - r // 2) for pad, r in zip(pads, reach, strict=True))
    shape = [
        size + sum(pad) - r for size, pad, r in zip(source.shape[:2], pads, reach, strict=True)
    ]
    if not same and np.any(pads):
        padded = (BATCH, *(s + sum(pad) for s, pad in zip(source.shape[:2], pads, strict=True)))
        name = reader.add(
            operator,
            "ZeroPadding2D",
            [source],
            padding=tuple(map(tuple, pads)),
            shape=(*padded, source.shape[2]),
        )
        source = reader.nodes[name]
    outputs = kernel.shape[3] * (kernel.shape[2] if kind == "DepthwiseConv2D" else 1)
    name = reader.add(
        operator,
        kind,
        [source],
        weights=weights,
        shape=(BATCH, *shape, outputs),
        strides=(1, 1),
        padding="same" if same else "valid",
        dilation_rate=dilation,
        **config,
    )
    return reader.nodes[name]


def space_to_batch(reader: Reader, operator: Operator) -> str:
    """How TensorFlow spells a dilated convolution: this, a plain one, and the reverse of this."""
    reader.image(operator)
    block, padding = (reader.known(operator, index) for index in (1, 2))
    return reader.add(operator, "SpaceToBatch", block=block, padding=padding)


def batch_to_space(reader: Reader, operator: Operator) -> str:
    """The other end of that; see `space_to_batch`."""
    conv = reader.source(operator)
    space = reader.nodes[conv.inputs[0]]
    if conv.kind not in WEIGHTED or space.kind != "SpaceToBatch":
        raise reader.unsupported(operator, f"TensorFlow's operator {operator.kind} there")
    config = {key: conv.config[key] for key in ("groups",) if key in conv.config}
    pads = (space.config["padding"] - reader.known(operator, 2)).tolist()
    for name in (conv.name, space.name):
        del reader.nodes[name]
    source, dilation = reader.nodes[space.inputs[0]], tuple(space.config["block"].tolist())
    weights = dict(conv.weights)
    return _padded_conv(reader, operator, conv.kind, source, weights, pads, dilation, **config).name


def matmul(reader: Reader, operator: Operator) -> str:
    """A product with a matrix of weights: a dense layer."""
    kernel, settings = reader.weights(operator), operator.settings
    if settings.get("transpose_b") or settings.get("adj_y"):
        kernel = kernel.T
    if kernel.ndim != 2 or settings.get("transpose_a") or settings.get("adj_x"):
        raise reader.unsupported(operator, "a product of two computed tensors")
    source = reader.source(operator)
    shape = (BATCH, *source.shape[:-1], kernel.shape[1])
    return reader.add(operator, "Dense", weights={"kernel": kernel}, shape=shape)
