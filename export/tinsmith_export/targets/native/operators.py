"""How each operator of the graph becomes one of a plan."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from math import prod

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import TargetError
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.interpret.rounding import quantize, sum_factors
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization, Normalization
from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Concatenate,
    Convolution,
    DepthToSpace,
    DepthwiseConv2D,
    Function,
    Maximum,
    MaxPooling2D,
    Multiply,
    Node,
    Reshape,
    UpSampling2D,
    Weigh,
    ZeroPadding2D,
)
from tinsmith_export.ir.quantization import QuantGraph, QuantParams
from tinsmith_export.targets.native.copies import copy_words, steps_of
from tinsmith_export.targets.native.plan import RANK, Kind, PlanOperator, PlanTensor

_LARGEST_SUM = 2**31 - 1


@dataclass(eq=False)
class Builder:
    """A plan in the making.

    Attributes:
        model: what it is made of.
        tables: of each function, the codes that it gives for -128 to 127, by the node's name.
        tensors: so far; none has a place yet.
        operators: so far.
    """

    model: QuantGraph
    tables: Mapping[str, NDArray[np.int8]]
    tensors: list[PlanTensor] = field(default_factory=list)
    operators: list[PlanOperator] = field(default_factory=list)
    _indices: dict[str, int] = field(default_factory=dict)

    def tensor(self, node: Node) -> int:
        """The index of a node's output, which is new if nobody asked for it before."""
        if node.name not in self._indices:
            self._indices[node.name] = self.place(node.name, node.shape, self.params(node.name))
        return self._indices[node.name]

    def place(
        self, name: str, shape: tuple[int, ...], params: QuantParams, data: bytes | None = None
    ) -> int:
        """Adds a tensor."""
        if len(shape) > RANK:
            raise TargetError(
                f"layer `{name}`: a plan has tensors of {RANK} dimensions at most, got {shape}"
            )
        self.tensors.append(PlanTensor(name, shape, params.scale, params.zero_point, 0, data))
        return len(self.tensors) - 1

    def source(self, node: Node, index: int = 0) -> Node:
        """The node whose output a node reads."""
        return self.model.graph.node(node.inputs[index])

    def params(self, name: str) -> QuantParams:
        """What the codes of a node's output stand for."""
        return self.model.params[name]

    def is_absorbed(self, node: Node) -> bool:
        """Whether a node is a padding that convolutions alone read: they pad by themselves."""
        readers = self.model.graph.readers(node.name)
        return isinstance(node, ZeroPadding2D) and all(
            isinstance(one, Convolution) and one.padding == "valid" for one in readers
        )

    def add(self, kind: Kind, node: Node, *words: int, constants: tuple[bytes, ...] = ()) -> None:
        """Adds an operator that reads what a node reads."""
        inputs = tuple(self.tensor(self.source(node, i)) for i in range(len(node.inputs)))
        self.operators.append(PlanOperator(kind, inputs, self.tensor(node), words, constants))


@singledispatch
def add(node: Node, builder: Builder) -> None:
    """Adds a node to a plan.

    Raises:
        TypeError: it has no form in a plan; rewriting takes it away.
        TargetError: it has parameters that no plan may have.
    """
    raise TypeError(f"{node.kind} has no form in a plan")


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


@add.register
def _(node: Maximum, builder: Builder) -> None:
    builder.add(Kind.MAXIMUM, node)


@add.register
def _(node: Function, builder: Builder) -> None:
    builder.add(Kind.TABLE, node, constants=(builder.tables[node.name].tobytes(),))


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
def _(node: Concatenate, builder: Builder) -> None:
    builder.add(Kind.CONCATENATE, node, len(node.shape) - 1 - node.axis)


@add.register
def _(node: MaxPooling2D, builder: Builder) -> None:
    pads = _pads_before(node, builder.source(node).shape)
    builder.add(Kind.MAX_POOL, node, *node.pool_size, *node.strides, *pads)


@add.register
def _(node: ZeroPadding2D, builder: Builder) -> None:
    if not builder.is_absorbed(node):
        (top, _), (left, _) = node.padding
        builder.add(Kind.PAD, node, top, left)


@add.register
def _(node: UpSampling2D, builder: Builder) -> None:
    builder.add(Kind.UPSAMPLE, node, *node.size)


@add.register
def _(node: DepthToSpace, builder: Builder) -> None:
    builder.add(Kind.DEPTH_TO_SPACE, node, node.block)


@add.register
def _(node: Reshape, builder: Builder) -> None:
    assert prod(node.shape) == prod(builder.source(node).shape)
    builder.add(Kind.RESHAPE, node)


@add.register
def _(node: Transpose, builder: Builder) -> None:
    steps = steps_of(builder.source(node).shape)
    words = copy_words(node, node.shape, [steps[axis] for axis in node.permutation])
    builder.add(Kind.COPY, node, *words)


@add.register
def _(node: Slice, builder: Builder) -> None:
    whole = builder.source(node).shape
    if len(whole) == 3 and node.shape[2] == whole[2] and set(node.steps) == {1}:
        builder.add(Kind.CROP, node, *node.begin[:2])
        return
    places = steps_of(whole)
    offset = sum(first * place for first, place in zip(node.begin, places, strict=True))
    steps = [step * place for step, place in zip(node.steps, places, strict=True)]
    builder.add(Kind.COPY, node, *copy_words(node, node.shape, steps, offset))


@add.register
def _(node: Gather, builder: Builder) -> None:
    indices = np.array(node.indices, "<u4").tobytes()
    behind = len(node.shape) - 1 - node.axis
    builder.add(Kind.GATHER, node, behind, constants=(indices,))
