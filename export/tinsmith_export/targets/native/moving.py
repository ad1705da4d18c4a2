"""How the operators that move codes become those of a plan."""

from math import prod

import numpy as np

from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.ops import (
    Concatenate,
    DepthToSpace,
    Reshape,
    UpSampling2D,
    ZeroPadding2D,
)
from tinsmith_export.targets.native.builder import Builder, add
from tinsmith_export.targets.native.copies import copy_words, steps_of
from tinsmith_export.targets.native.plan import Kind


@add.register
def _(node: Concatenate, builder: Builder) -> None:
    builder.add(Kind.CONCATENATE, node, len(node.shape) - 1 - node.axis)


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
