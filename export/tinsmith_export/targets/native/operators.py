"""How the operators that compute new codes, or choose among some, become those of a plan."""

import struct
from math import prod

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import TargetError
from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.interpret.rounding import quantize, sum_factors
from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization, Normalization
from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Convolution,
    DepthwiseConv2D,
    Function,
    Maximum,
    MaxPooling2D,
    Minimum,
    Multiply,
    Node,
    Weigh,
    ZeroPadding2D,
)
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.ir.softmax import exponentials
from tinsmith_export.targets.native.builder import Builder, add
from tinsmith_export.targets.native.plan import Kind, PlanOperator

_LARGEST_SUM = 2**31 - 1
_LARGEST_SOFTMAX = 2**20


@add.register
def _(node: Convolution, builder: Builder) -> None:
    source, pads = builder.source(node), np.array(_pads_before(node, builder.source(node).shape))
    while builder.is_absorbed(source):
        assert isinstance(source, ZeroPadding2D)
        pads += [before for before, _ in source.padding]
        source = builder.source(source)
    kernel, depthwise = node.channel_kernel, isinstance(node, DepthwiseConv2D)
    groups = source.shape[-1] if depthwise else source.shape[-1] // kernel.shape[2]
    words = (
        *(*kernel.shape[:2], *node.strides, *node.dilation_rate),
        *(int(pad) for pad in pads),
        groups,
    )
    weights = builder.model.weights.get(node.name)
    kind = Kind.PRODUCT
    constants: tuple[bytes, ...]
    if weights is None:
        kind, bias = Kind.FLOAT_PRODUCT, np.zeros(node.channels) if node.bias is None else node.bias
        constants = _channels_first(node, kernel.astype("<f4")), bias.astype("<f4").tobytes()
    else:
        sums = np.zeros(node.channels, np.int32) if weights.bias is None else weights.bias
        _require_exact(node, weights.codes, sums)
        scale = np.float32(builder.params(node.inputs[0]).scale) * weights.scale
        scale = scale / np.float32(builder.params(node.name).scale)
        constants = (
            _channels_first(node, weights.codes),
            sums.astype("<i4").tobytes(),
            np.broadcast_to(scale, node.channels).astype("<f4").tobytes(),
        )
    inputs = (builder.tensor(source),)
    builder.operators.append(PlanOperator(kind, inputs, builder.tensor(node), words, constants))


def _channels_first(node: Convolution, kernel: NDArray[np.int8] | NDArray[np.float32]) -> bytes:
    """Weights with the output channels first, then rows, columns and the channels of a group."""
    if isinstance(node, DepthwiseConv2D):
        kernel = kernel.reshape(*node.kernel.shape[:2], 1, node.channels)
    return np.moveaxis(kernel, -1, 0).tobytes()


def _require_exact(node: Convolution, weights: NDArray[np.int8], bias: NDArray[np.int32]) -> None:
    """Checks that sums fit into `int32`, whatever the input and the order of summation."""
    taps = np.abs(weights.reshape(-1, node.channels).astype(np.int64)).sum(axis=0)
    largest = int((255 * taps + np.abs(bias.astype(np.int64))).max())
    if largest > _LARGEST_SUM:
        raise TargetError(
            f"layer `{node.name}`: sums may reach {largest:,}, a plan takes {_LARGEST_SUM:,}"
        )


def _pads_before(node: Convolution | MaxPooling2D, source: tuple[int, ...]) -> tuple[int, int]:
    """Rows above and columns left of an image that TensorFlow's "same" adds."""
    if node.padding != "same":
        return 0, 0
    size = node.pool_size if isinstance(node, MaxPooling2D) else node.kernel.shape[:2]
    dilation = (1, 1) if isinstance(node, MaxPooling2D) else node.dilation_rate
    pads = []
    for axis in (0, 1):
        reach = (node.shape[axis] - 1) * node.strides[axis] + (size[axis] - 1) * dilation[axis] + 1
        pads.append(max(reach - source[axis], 0) // 2)
    return pads[0], pads[1]


@add.register
def _(node: Add, builder: Builder) -> None:
    scales = [builder.params(name).scale for name in node.inputs]
    builder.add(Kind.ADD, node, *sum_factors(scales, builder.params(node.name)))


@add.register
def _(node: Multiply, builder: Builder) -> None:
    scales = [builder.params(name).scale for name in node.inputs]
    builder.add(Kind.MULTIPLY, node, _product_scale(node, scales[0], scales[1], builder))


@add.register
def _(node: MatMul, builder: Builder) -> None:
    columns = builder.source(node).shape[-1]
    if 255 * 255 * columns > _LARGEST_SUM:
        raise TargetError(
            f"layer `{node.name}`: a plan multiplies matrices of 33,025 columns at most, "
            f"got {columns}"
        )
    scales = [builder.params(name).scale for name in node.inputs]
    builder.add(Kind.MATRIX_PRODUCT, node, _product_scale(node, scales[0], scales[1], builder))


@add.register
def _(node: Weigh, builder: Builder) -> None:
    weights, source = builder.model.weights[node.name], builder.source(node)
    params = QuantParams(float(weights.scale[0]), weights.zero_point)
    codes = weights.codes.reshape(weights.codes.shape[-3:])
    name = f"{node.name}/factor"
    inputs = builder.tensor(source), builder.place(name, codes.shape, params, codes.tobytes())
    word = _product_scale(node, builder.params(source.name).scale, params.scale, builder)
    output = builder.tensor(node)
    builder.operators.append(PlanOperator(Kind.MULTIPLY, inputs, output, (word,)))


def _product_scale(node: Node, one: float, other: float, builder: Builder) -> int:
    """How many codes of the output 1 is, the bits of a `float32`."""
    output = np.float32(builder.params(node.name).scale)
    return int((np.float32(one) * np.float32(other) / output).view(np.uint32))


@add.register(Maximum)
@add.register(Minimum)
def _(node: Maximum | Minimum, builder: Builder) -> None:
    builder.add(Kind[node.kind.upper()], node)


@add.register
def _(node: Function, builder: Builder) -> None:
    builder.add(Kind.TABLE, node, constants=(builder.tables[node.name].tobytes(),))


@add.register
def _(node: Softmax, builder: Builder) -> None:
    channels = node.shape[-1]
    if channels > _LARGEST_SOFTMAX:
        raise TargetError(
            f"layer `{node.name}`: a plan has a softmax of {_LARGEST_SOFTMAX:,} numbers at most, "
            f"got {channels:,}"
        )
    table = exponentials(builder.params(node.inputs[0]).scale)
    builder.add(Kind.SOFTMAX, node, constants=(table.astype("<u4").tobytes(),))


@add.register
def _(node: Clip, builder: Builder) -> None:
    codes = np.arange(-128, 128).astype(np.int8)
    clipped = np.maximum(codes, np.int8(builder.params(node.name).zero_point))
    builder.add(Kind.TABLE, node, constants=(clipped.tobytes(),))


@add.register
def _(node: LayerNormalization, builder: Builder) -> None:
    if node.centered:
        _normalize(node, builder, Kind.LAYER_NORM)
    else:
        _normalize(node, builder, Kind.NORMALIZE, 1, 1, 0)


@add.register
def _(node: GroupNormalization, builder: Builder) -> None:
    _normalize(node, builder, Kind.NORMALIZE, prod(node.shape[:-1]), node.groups, 1)


def _normalize(node: Normalization, builder: Builder, kind: Kind, *words: int) -> None:
    epsilon = struct.unpack("<2I", struct.pack("<d", node.epsilon))
    constants = tuple(values.astype("<f4").tobytes() for values in (node.gamma, node.beta))
    builder.add(kind, node, *epsilon, *words, constants=constants)


@add.register
def _(node: Embedding, builder: Builder) -> None:
    rows = quantize(node.table, builder.params(node.name))
    builder.add(Kind.EMBEDDING, node, constants=(rows.tobytes(),))


@add.register
def _(node: MaxPooling2D, builder: Builder) -> None:
    pads = _pads_before(node, builder.source(node).shape)
    builder.add(Kind.MAX_POOL, node, *node.pool_size, *node.strides, *pads)
