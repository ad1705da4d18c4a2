"""From operators of TensorFlow to a graph of layers."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.graph import WEIGHTED, Graph, Node
from tinsmith_export.trace import BATCH, Operator, Trace, distinct
from tinsmith_runtime.errors import TinsmithError

# Operators that only a quantized model has.
ROUNDINGS = (
    *("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
    *("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"),
)
# What a bundle's manifest takes.
_MOST_TENSORS = 16
# Layers that are more than one operator which is missing.
_FAMILIES = {
    "recurrent layers are not compiled": (
        *("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"),
        *("TimeDistributed",),
    ),
    "attention is not compiled": (
        *("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"),
    ),
}


def read_graph(trace: Trace) -> Graph:
    """Reads what a model computes as layers; nothing is left out and nothing changed.

    Args:
        trace: of a model whose inputs are images, `(H, W, C)`, or features.

    Raises:
        UnsupportedLayerError: a layer that cannot be compiled, by name and class.
        TinsmithError: the model holds weights that are not finite, or an input or an output that
            has nothing to do with the others.
    """
    reader = _Reader(trace)
    for operator in trace.operators:
        reader.read(operator)
    return Graph((*reader.nodes.values(), *reader.outputs())).pruned()


class _Reader:
    """Reads one operator after the other; `nodes` is what has been read."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.nodes: dict[str, Node] = {}
        self.names: dict[str, str] = {}  # tensor to node
        for kind, found in (("inputs", trace.inputs), ("outputs", trace.outputs)):
            if len(found) > _MOST_TENSORS:
                raise TinsmithError(
                    f"{trace.model}: expected at most {_MOST_TENSORS} {kind}, got {len(found)}: "
                    "join some with a Concatenate layer, or compile a part, keras.Model(INPUTS, "
                    "OUTPUTS)"
                )
        names = distinct(map(_plain, (*trace.input_names, *trace.output_names)))
        count = len(trace.inputs)
        self._output_names = names[count:]
        for name, (tensor, shape) in zip(names, trace.inputs.items(), strict=False):
            self.names[tensor] = self._add(name if count > 1 else "input", "InputLayer", (), shape)

    def read(self, operator: Operator) -> None:
        """Reads an operator, whose inputs were read before."""
        read = READERS.get(operator.kind)
        if operator.kind in ROUNDINGS:
            raise TinsmithError(
                f"layer `{operator.layer}` rounds already (TensorFlow's {operator.kind}): the "
                "model is quantized; give the float model that it was made of"
            )
        if read is None:
            raise self.unsupported(operator, f"TensorFlow's operator {operator.kind}")
        self.names[operator.output] = read(self, operator)

    def outputs(self) -> list[Node]:
        """The model's outputs, after all operators were read."""
        found, several = [], len(self._output_names) > 1
        for name, tensor in zip(self._output_names, self._trace.outputs, strict=True):
            if tensor not in self.names:
                raise TinsmithError(
                    f"the model's output `{name}` does not depend on its inputs: leave it out, "
                    "keras.Model(INPUTS, OUTPUTS)"
                )
            source = self.nodes[self.names[tensor]]
            config = {"name": name if several else "logits", "activation": "none"}
            found.append(Node(f"{name}/output", "Output", (source.name,), source.shape, config))
        read = {name for node in (*self.nodes.values(), *found) for name in node.inputs}
        for node in self.nodes.values():
            if node.kind == "InputLayer" and node.name not in read:
                raise TinsmithError(
                    f"the model's input `{node.name}` changes nothing in what it gives: leave it "
                    "out, keras.Model(INPUTS, OUTPUTS)"
                )
        return found

    def unsupported(self, operator: Operator, what: str) -> UnsupportedLayerError:
        """The error for an operator that cannot be compiled."""
        kind = self._trace.classes.get(operator.layer, "operator")
        family = next((name for name, kinds in _FAMILIES.items() if kind in kinds), None)
        return UnsupportedLayerError(
            f"layer `{operator.layer}` ({kind}) cannot be compiled: it needs {what}; "
            + (f"{family}: " if family else "")
            + "take another layer there (docs/compiling.md lists those that compile)"
        )

    def constant(self, operator: Operator, index: int) -> NDArray[Any] | None:
        """The constant that an operator reads there, if it is one."""
        values = self._trace.constants.get(operator.inputs[index])
        if values is not None and not np.isfinite(values).all():
            raise TinsmithError(f"layer `{operator.layer}` holds weights that are NaN or infinite")
        return values

    def weights(self, operator: Operator, index: int = 1) -> NDArray[np.float32]:
        """The constant that an operator must read there."""
        values = self.constant(operator, index)
        if values is None:
            raise self.unsupported(operator, "a product of two computed tensors")
        return values.astype(np.float32)

    def known(self, operator: Operator, index: int) -> NDArray[Any]:
        """The constant that an operator must read there, a shape or a place."""
        values = self.constant(operator, index)
        if values is None:
            raise self.unsupported(operator, "sizes that are known before it runs")
        return values

    def source(self, operator: Operator, index: int = 0) -> Node:
        """The node that an operator reads there."""
        return self.nodes[self.names[operator.inputs[index]]]

    def add(
        self, operator: Operator, kind: str, sources: Sequence[Node] | None = None, **rest: Any
    ) -> str:
        """Adds a node for an operator and returns its name; `rest` is its config and weights."""
        inputs = tuple(node.name for node in sources or (self.source(operator),))
        shape = rest.pop("shape", operator.shape)
        return self._add(operator.layer, kind, inputs, shape, **rest)

    def _add(
        self,
        layer: str,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        weights: Any = None,
        **config: Any,
    ) -> str:
        layer = _plain(layer)
        name, number = layer, 0
        while name in self.nodes:
            number += 1
            name = f"{layer}/{kind.lower()}" + (f"_{number}" if number > 1 else "")
        self.nodes[name] = Node(name, kind, inputs, tuple(shape[1:]), config, weights or {})
        return name


def _plain(name: str) -> str:
    """A name that every format takes."""
    return re.sub("[^A-Za-z0-9_.-]", "_", name).lstrip("_-") or "layer"


def _image(reader: _Reader, operator: Operator) -> Node:
    """The one input of an operator on images, channels last."""
    settings = operator.settings
    source = reader.source(operator)
    if settings.get("data_format", b"NHWC") != b"NHWC" or len(source.shape) != 3:
        raise reader.unsupported(operator, "images of the form (H, W, C)")
    return source


def _conv(reader: _Reader, operator: Operator) -> str:
    source, kernel = _image(reader, operator), reader.weights(operator)
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


def _transposed_conv(reader: _Reader, operator: Operator) -> str:
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
    reader: _Reader,
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


def _space_to_batch(reader: _Reader, operator: Operator) -> str:
    """How TensorFlow spells a dilated convolution: this, a plain one, and the reverse of this."""
    _image(reader, operator)
    block, padding = (reader.known(operator, index) for index in (1, 2))
    return reader.add(operator, "SpaceToBatch", block=block, padding=padding)


def _batch_to_space(reader: _Reader, operator: Operator) -> str:
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


def _matmul(reader: _Reader, operator: Operator) -> str:
    kernel, settings = reader.weights(operator), operator.settings
    if settings.get("transpose_b") or settings.get("adj_y"):
        kernel = kernel.T
    if kernel.ndim != 2 or settings.get("transpose_a") or settings.get("adj_x"):
        raise reader.unsupported(operator, "a product of two computed tensors")
    source = reader.source(operator)
    shape = (BATCH, *source.shape[:-1], kernel.shape[1])
    return reader.add(operator, "Dense", weights={"kernel": kernel}, shape=shape)


def _affine(
    reader: _Reader, operator: Operator, source: Node, factor: Any = 1.0, offset: Any = 0.0
) -> str:
    """A factor and an offset for every channel, or for all: `float32 (C,)` or `()`."""
    found = {}
    for name, values in (("factor", factor), ("offset", offset)):
        values = np.asarray(values, np.float32)
        if values.size == 1:
            values = values.reshape(())
        elif values.size == values.shape[-1]:
            values = values.reshape(-1)
        else:
            raise reader.unsupported(operator, "a constant that is not one number a channel")
        found[name] = values
    return reader.add(operator, "Affine", [source], weights=found)


def _arithmetic(reader: _Reader, operator: Operator) -> str:
    left, right = (reader.constant(operator, index) for index in (0, 1))
    kind = operator.kind
    if left is None and right is None:
        sources = [reader.source(operator, index) for index in (0, 1)]
        if kind in ("Sub", "SquaredDifference"):
            minus = _affine(reader, operator, sources[1], factor=-1.0)
            sources[1] = reader.nodes[minus]
            kind = {"Sub": "Add", "SquaredDifference": "SquaredSum"}[kind]
        if kind not in ("AddV2", "Add", "Mul", "SquaredSum"):
            raise reader.unsupported(operator, f"{kind} of two computed tensors")
        return reader.add(operator, {"AddV2": "Add", "Mul": "Multiply"}.get(kind, kind), sources)
    source = reader.source(operator, 0 if left is None else 1)
    values = reader.known(operator, 1 if left is None else 0)
    if kind in ("AddV2", "Add", "BiasAdd"):
        return _affine(reader, operator, source, offset=values)
    if kind == "Sub":
        if left is None:
            return _affine(reader, operator, source, offset=-np.asarray(values))
        return _affine(reader, operator, source, factor=-1.0, offset=values)
    if kind == "Mul":
        return _affine(reader, operator, source, factor=values)
    if kind == "RealDiv" and left is None:
        return _affine(reader, operator, source, factor=1 / np.asarray(values, np.float32))
    if kind in ("Maximum", "Minimum") and np.size(values) == 1:
        limit = float(np.reshape(values, ()))
        clip = (limit, None) if kind == "Maximum" else (None, limit)
        return reader.add(operator, "Clip", [source], clip=clip)
    raise reader.unsupported(operator, f"TensorFlow's operator {kind} there")


def _negate(reader: _Reader, operator: Operator) -> str:
    return _affine(reader, operator, reader.source(operator), factor=-1.0)


def _batch_norm(reader: _Reader, operator: Operator) -> str:
    if operator.settings["is_training"]:
        return _layer_norm(reader, operator)
    source = _image(reader, operator)
    gamma, beta, mean, variance = (
        reader.weights(operator, index).astype(np.float64) for index in range(1, 5)
    )
    factor = gamma / np.sqrt(variance + operator.settings["epsilon"])
    return _affine(reader, operator, source, factor, beta - mean * factor)


def _layer_norm(reader: _Reader, operator: Operator) -> str:
    """How tf_keras spells layer normalization: as that of a batch whose channels are the places."""
    source, shape = reader.source(operator), operator.shape
    channels, places = source.shape[-1], BATCH * int(np.prod(source.shape[:-1]))
    plain = np.all(reader.weights(operator, 1) == 1) and not np.any(reader.weights(operator, 2))
    if shape != (1, places, channels, 1) or operator.settings["data_format"] != b"NCHW":
        raise reader.unsupported(operator, "statistics of the batch")
    if not plain:
        raise reader.unsupported(operator, "one scale and one offset a channel")
    weights = {"gamma": np.ones(channels, np.float32), "beta": np.zeros(channels, np.float32)}
    return reader.add(
        operator,
        "LayerNormalization",
        weights=weights,
        epsilon=operator.settings["epsilon"],
        shape=(BATCH, *source.shape),
    )


def _clip(low: float | None, high: float | None) -> Callable[[_Reader, Operator], str]:
    return lambda reader, operator: reader.add(operator, "Clip", clip=(low, high))


def _function(name: str) -> Callable[[_Reader, Operator], str]:
    return lambda reader, operator: reader.add(operator, "Function", function=name)


def _leaky_relu(reader: _Reader, operator: Operator) -> str:
    return reader.add(operator, "LeakyReLU", negative_slope=operator.settings["alpha"])


def _pool(kind: str) -> Callable[[_Reader, Operator], str]:
    def read(reader: _Reader, operator: Operator) -> str:
        _image(reader, operator)
        return reader.add(
            operator,
            kind,
            pool_size=tuple(operator.settings["ksize"][1:3]),
            strides=tuple(operator.settings["strides"][1:3]),
            padding=operator.settings["padding"].decode().lower(),
        )

    return read


def _reduce(reader: _Reader, operator: Operator) -> str:
    """A mean or a maximum over the whole image; a mean over the channels."""
    source, axes = reader.source(operator), reader.constant(operator, 1)
    rank = len(source.shape) + 1
    over = sorted(int(axis) % rank for axis in np.ravel(axes)) if axes is not None else []
    if rank == 3 and over == [1]:
        source, rank, over = _row(reader, operator, source), 4, [1, 2]
    if operator.kind == "Mean" and over == [rank - 1]:
        shape = (BATCH, *source.shape[:-1], 1)
        name = reader.add(operator, "ChannelMean", shape=shape)
    elif over == [1, 2] and rank == 4:
        kind = {"Mean": "AveragePooling2D", "Max": "MaxPooling2D"}[operator.kind]
        size = source.shape[:2]
        shape = (BATCH, 1, 1, source.shape[-1])
        name = reader.add(
            operator, kind, [source], pool_size=size, strides=size, padding="valid", shape=shape
        )
    else:
        raise reader.unsupported(operator, f"{operator.kind} over dimensions {over}")
    if operator.shape == shape:
        return name
    return reader.add(operator, "Reshape", [reader.nodes[name]])


def _row(reader: _Reader, operator: Operator, source: Node) -> Node:
    """A sequence `(L, C)` as an image of one row."""
    shape = (BATCH, 1, *source.shape)
    return reader.nodes[reader.add(operator, "Reshape", [source], shape=shape)]


def _concatenate(reader: _Reader, operator: Operator) -> str:
    *tensors, axis = operator.inputs
    if any(name in reader._trace.constants for name in tensors):
        raise reader.unsupported(operator, "a constant joined to a computed tensor")
    sources = [reader.source(operator, index) for index in range(len(tensors))]
    over = int(np.ravel(reader._trace.constants[axis])[0]) % (len(operator.shape))
    if over != len(operator.shape) - 1:
        raise reader.unsupported(operator, f"a concatenation along dimension {over}")
    return reader.add(operator, "Concatenate", sources) if len(sources) > 1 else sources[0].name


def _pad(reader: _Reader, operator: Operator) -> str:
    source, amounts = reader.source(operator), reader.known(operator, 1).tolist()
    sequence = len(source.shape) == 2
    if sequence:
        source, amounts = _row(reader, operator, source), [amounts[0], [0, 0], *amounts[1:]]
    if (
        len(amounts) != 4
        or amounts[0] != [0, 0]
        or amounts[3] != [0, 0]
        or operator.kind == "MirrorPad"
    ):
        raise reader.unsupported(operator, "a padding other than zeros around an image")
    if len(operator.inputs) > 2 and np.any(reader.constant(operator, 2)):
        raise reader.unsupported(operator, "a padding other than zeros")
    (top, bottom), (left, right) = padding = (tuple(amounts[1]), tuple(amounts[2]))
    rows, columns, channels = source.shape
    shape = (BATCH, rows + top + bottom, columns + left + right, channels)
    name = reader.add(operator, "ZeroPadding2D", [source], padding=padding, shape=shape)
    return reader.add(operator, "Reshape", [reader.nodes[name]]) if sequence else name


def _slice(reader: _Reader, operator: Operator) -> str:
    """A part of an image: rows and columns cut off."""
    source = _image(reader, operator)
    begin, steps = (np.ravel(reader.known(operator, index)).tolist() for index in (1, 3))
    settings, crop = operator.settings, []
    plain = not any(settings[f"{kind}_mask"] for kind in ("ellipsis", "new_axis", "shrink_axis"))
    for axis, (size, rest) in enumerate(zip((BATCH, *source.shape), operator.shape, strict=plain)):
        first = 0 if axis >= len(begin) or settings["begin_mask"] >> axis & 1 else begin[axis]
        crop.append((first % size, size - rest - first % size))
        plain &= axis >= len(steps) or steps[axis] == 1
    if not plain or crop[0] != (0, 0) or crop[3] != (0, 0):
        raise reader.unsupported(operator, "a slice other than rows and columns of an image")
    return reader.add(operator, "Cropping2D", cropping=(crop[1], crop[2]))


def _reshape(reader: _Reader, operator: Operator) -> str:
    """A new shape of each image; layers that look at the last dimension alone see no other."""
    source, shape = reader.source(operator), operator.shape
    if shape[0] == BATCH and np.prod(shape[1:]) == np.prod(source.shape):
        if shape[1:] == source.shape:
            return source.name
        return reader.add(operator, "Reshape")
    if len(shape) == 2 and shape[-1] == source.shape[-1]:
        return source.name  # (batch * H * W, C), on the way into and out of a dense layer
    places = BATCH * int(np.prod(source.shape[:-1]))
    if shape == (1, places, source.shape[-1], 1):
        return source.name  # on the way into tf_keras's layer normalization
    raise reader.unsupported(operator, "a shape that mixes images")


def _tile(reader: _Reader, operator: Operator) -> str:
    """How Keras 3 spells nearest upsampling: a dimension of 1 put in, repeated, and joined."""
    source, times = reader.source(operator), np.ravel(reader.known(operator, 1)).tolist()
    image = reader.nodes[source.inputs[0]] if source.kind == "Reshape" else source
    if len(image.shape) == 2:
        image, times = _row(reader, operator, image), [times[0], 1, *times[1:]]
    rows, columns, channels = image.shape if len(image.shape) == 3 else (0, 0, 0)
    for axis, apart in ((0, (rows, 1, columns, channels)), (1, (rows, columns, 1, channels))):
        factor = times[axis + 2] if len(times) == 5 else 0
        alone = [factor if place == axis + 2 else 1 for place in range(5)]
        if source.shape in (apart, apart[1:]) and times == alone:
            size = (factor, 1) if axis == 0 else (1, factor)
            shape = (BATCH, rows * size[0], columns * size[1], channels)
            name = reader.add(operator, "UpSampling2D", [image], size=size, shape=shape)
            return reader.add(operator, "Reshape", [reader.nodes[name]])
    raise reader.unsupported(operator, "a repetition other than of an image's rows and columns")


def _upsample(reader: _Reader, operator: Operator) -> str:
    source = _image(reader, operator)
    size = [new / old for new, old in zip(operator.shape[1:3], source.shape[:2], strict=True)]
    if any(factor % 1 for factor in size) or operator.settings["align_corners"]:
        raise reader.unsupported(operator, "a resize by a factor that is not whole")
    return reader.add(operator, "UpSampling2D", size=tuple(map(int, size)))


READERS: dict[str, Callable[[_Reader, Operator], str]] = {
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _conv,
    "Conv2DBackpropInput": _transposed_conv,
    "SpaceToBatchND": _space_to_batch,
    "BatchToSpaceND": _batch_to_space,
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    **dict.fromkeys(
        ("BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"), _arithmetic
    ),
    "SquaredDifference": _arithmetic,
    "Neg": _negate,
    "FusedBatchNormV3": _batch_norm,
    "Relu": _clip(0.0, None),
    "Relu6": _clip(0.0, 6.0),
    "LeakyRelu": _leaky_relu,
    **{
        kind: _function(name)
        for kind, name in {
            "Sigmoid": "sigmoid",
            "Softmax": "softmax",
            "Tanh": "tanh",
            "Elu": "elu",
            "Selu": "selu",
            "Softplus": "softplus",
            "Rsqrt": "rsqrt",
            "Erf": "erf",
            "Erfc": "erfc",
            "Square": "square",
        }.items()
    },
    "MaxPool": _pool("MaxPooling2D"),
    "AvgPool": _pool("AveragePooling2D"),
    "Mean": _reduce,
    "Max": _reduce,
    "ConcatV2": _concatenate,
    "Pad": _pad,
    "PadV2": _pad,
    "StridedSlice": _slice,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "ExpandDims": _reshape,
    "ResizeNearestNeighbor": _upsample,
    "Tile": _tile,
}
