"""Readers of the operators that move numbers along any dimension."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinsmith_export.frontend.reader import Reader, Shape
from tinsmith_export.frontend.trace import BATCH, Operator
from tinsmith_export.ir.moving import Slice, Transpose
from tinsmith_export.ir.ops import DepthToSpace, Node, Reshape


def transpose(reader: Reader, operator: Operator) -> Node:
    """The dimensions of each image in another order."""
    source, perm = reader.source(operator), reader.known(operator, 1).tolist()
    if len(perm) != len(source.shape) + 1 or perm[0] != 0:
        raise reader.unsupported(operator, "an order of dimensions that leaves the images apart")
    axes = tuple(axis - 1 for axis in perm[1:])
    if axes == tuple(range(len(axes))):
        return source
    return reader.add(Transpose(*reader.place(operator), permutation=axes))


def over_last(
    reader: Reader,
    operator: Operator,
    source: Node,
    axis: int,
    compute: Callable[[Node], Node],
) -> Node:
    """Computes over another dimension than the last, between two transpositions.

    Args:
        reader: to add these to.
        operator: whose they are.
        source: what it reads.
        axis: the dimension, the batch not counted; where that is the last, nothing is moved.
        compute: from a tensor whose last dimension this is to one of the same form.
    """
    others = (other for other in range(len(source.shape)) if other != axis)
    axes = (*others, axis)
    found = compute(transposed(reader, operator, source, axes))
    back = tuple(axes.index(place) for place in range(len(axes)))
    return transposed(reader, operator, found, back)


def transposed(reader: Reader, operator: Operator, node: Node, axes: Sequence[int]) -> Node:
    """A node with its dimensions in another order; none is added where the order stays."""
    if list(axes) == sorted(axes):
        return node
    place = reader.place(operator, [node], tuple(node.shape[axis] for axis in axes))
    return reader.add(Transpose(*place, permutation=tuple(axes)), inner=True)


def depth_to_space(reader: Reader, operator: Operator) -> Node:
    """Blocks of channels as pixels (pixel shuffle, Shi et al. 2016)."""
    reader.image(operator)
    return reader.add(
        DepthToSpace(*reader.place(operator), block=int(operator.settings["block_size"]))
    )


def space_to_depth(reader: Reader, operator: Operator) -> Node:
    """Blocks of pixels as channels, by a transposition.

    ONNX Runtime took floats alone there until 2026.
    """
    source, block = reader.image(operator), int(operator.settings["block_size"])
    rows, columns, channels = source.shape
    apart = (rows // block, block, columns // block, block, channels)
    blocks = reader.add(Reshape(*reader.place(operator, [source], apart)))
    axes = (0, 2, 1, 3, 4)
    place = reader.place(operator, [blocks], tuple(apart[axis] for axis in axes))
    turned = reader.add(Transpose(*place, permutation=axes))
    return reader.add(Reshape(*reader.place(operator, [turned])))


def strided_slice(reader: Reader, operator: Operator) -> Node:
    """`x[begin:end:step, …]`, with all that Python may write between the brackets."""
    numbers = (np.ravel(reader.known(operator, index)).tolist() for index in (1, 2, 3))
    masks = [
        int(operator.settings[f"{name}_mask"])
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    ]
    rank = len(reader.source(operator).shape) + 1
    parts: list[slice] = []
    written = list(zip(*numbers, strict=True))
    for place, (first, end, step) in enumerate(written):
        no_begin, no_end, dots, new, single = (mask >> place & 1 for mask in masks)
        if dots:
            later = range(place + 1, len(written))
            behind = sum(not masks[3] >> other & 1 for other in later)
            parts += [slice(None)] * (rank - len(parts) - behind)
        elif new:
            continue
        elif single:
            parts.append(slice(first, first + 1 or None))
        else:
            parts.append(slice(None if no_begin else first, None if no_end else end, step))
    parts += [slice(None)] * (rank - len(parts))
    return _sliced(reader, operator, parts, operator.shape)


def plain_slice(reader: Reader, operator: Operator) -> Node:
    """A part that begins somewhere and has some size."""
    first = np.ravel(reader.known(operator, 1)).tolist()
    parts = [slice(a, a + size) for a, size in zip(first, operator.shape, strict=True)]
    return _sliced(reader, operator, parts, operator.shape)


def split(reader: Reader, operator: Operator) -> Node:
    """Several parts, one behind the other in some dimension; each is a slice."""
    tensors = {operator.output: operator.shape, **operator.others}
    if operator.kind == "Unpack":
        axis, source = int(operator.settings["axis"]), 0
    else:
        place, source = (0, 1) if operator.kind == "Split" else (2, 0)
        axis = int(np.ravel(reader.known(operator, place))[0])
    whole = (BATCH, *reader.source(operator, source).shape)
    axis, first = axis % len(whole), 0
    found: list[Node] = []
    for name, shape in tensors.items():
        size = 1 if operator.kind == "Unpack" else shape[axis]
        parts = [slice(None)] * len(whole)
        parts[axis] = slice(first, first + size)
        found.append(_sliced(reader, operator, parts, shape, source))
        reader.names[name] = found[-1].name
        first += size
    return found[0]


def _sliced(
    reader: Reader, operator: Operator, parts: Sequence[slice], shape: Shape, source: int = 0
) -> Node:
    """A part of what an operator reads, in the shape that it gives, the batch counted."""
    node = reader.source(operator, source)
    batch, *places = (
        range(size)[part] for size, part in zip((BATCH, *node.shape), parts, strict=True)
    )
    if batch != range(BATCH) or shape[0] != BATCH:
        raise reader.unsupported(operator, "a slice that leaves the images whole")
    if [len(place) for place in places] != list(node.shape) or any(p.step != 1 for p in places):
        part: Any = reader.place(operator, [node], tuple(map(len, places)))
        begin, steps = tuple(p.start for p in places), tuple(p.step for p in places)
        node = reader.add(Slice(*part, begin=begin, steps=steps))
    if node.shape == shape[1:]:
        return node
    return reader.add(Reshape(*reader.place(operator, [node], shape[1:])))
