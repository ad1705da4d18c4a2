"""Readers of products of matrices."""

import string
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.frontend.moving import transposed
from tinsmith_export.frontend.products import dense
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.ops import Dense, Node, Reshape

Labels = list[str]


def _reshaped(reader: Reader, operator: Operator, source: Node, shape: Sequence[int]) -> Node:
    """A node in another shape."""
    if source.shape == tuple(shape):
        return source
    return reader.add(Reshape(*reader.place(operator, [source], tuple(shape))))


def matmul(reader: Reader, operator: Operator) -> Node:
    """A product with weights, or of two computed tensors."""
    if reader.constant(operator, 1) is not None:
        return dense(reader, operator)
    if (weights := reader.constant(operator, 0)) is not None:
        return _weights_first(reader, operator, weights)
    factors = []
    for index, names in enumerate((("adj_x", "transpose_a"), ("adj_y", "transpose_b"))):
        source = reader.source(operator, index)
        rank = len(source.shape)
        if rank < 2:
            raise reader.unsupported(operator, "a product of computed tensors that mixes images")
        if any(operator.settings.get(name) for name in names):
            order = [*range(rank - 2), rank - 1, rank - 2]
            source = transposed(reader, operator, source, order)
        factors.append(source)
    return reader.add(MatMul(*reader.place(operator, factors)))


def _weights_first(reader: Reader, operator: Operator, weights: NDArray[Any]) -> Node:
    """A product of weights and a tensor, `(x' w')'`."""
    source, settings = reader.source(operator, 1), operator.settings
    turned = [bool(settings.get(f"adj_{x}") or settings.get(f"transpose_{x}")) for x in "xy"]
    rank = len(source.shape)
    if weights.ndim != 2 or rank < 2:
        raise reader.unsupported(operator, "weights that are one matrix")
    order = [*range(rank - 2), rank - 1, rank - 2]
    kernel = (weights if turned[0] else weights.T).astype(np.float32)
    source = source if turned[1] else transposed(reader, operator, source, order)
    place = reader.place(operator, [source], (*source.shape[:-1], kernel.shape[1]))
    return transposed(reader, operator, reader.add(Dense(*place, kernel=kernel)), order)


def einsum(reader: Reader, operator: Operator) -> Node:
    """Einstein's sum of a tensor and weights, or of two computed tensors."""
    if len(operator.inputs) != 2:
        raise reader.unsupported(operator, "a sum of products of two tensors")
    terms, out = _labels(reader, operator)
    # Weights stand on the right.
    sides = sorted((0, 1), key=lambda index: reader.constant(operator, index) is not None)
    one, other = (terms[index] for index in sides)
    summed = [x for x in one if x in other and x not in out]
    shared = [x for x in one if x in other and x in out]
    mine, others = ([x for x in term if x in out and x not in shared] for term in (one, other))
    if len(one) != len({*summed, *shared, *mine}) or len(other) != len({*summed, *shared, *others}):
        raise reader.unsupported(operator, "a sum over dimensions that both tensors have")
    sizes = dict(zip(out, operator.shape, strict=True))
    source = reader.source(operator, sides[0])
    sizes |= dict(zip(one[1:], source.shape, strict=True))
    weights = reader.constant(operator, sides[1])
    sample = out[0]
    mixes = sample in other if weights is not None else other[0] != sample
    if one[0] != sample or mixes:
        raise reader.unsupported(operator, "a product that does not mix images")

    def arranged(node: Node, term: Labels, *parts: Labels) -> Node:
        """A tensor with these dimensions in this order; those of the last two parts are one."""
        order = [term.index(x) - 1 for part in parts for x in part if x != sample]
        node = transposed(reader, operator, node, order)
        *kept, rows, columns = ([sizes[x] for x in part if x != sample] for part in parts)
        return _reshaped(reader, operator, node, (*chain(*kept), prod(rows), prod(columns)))

    if weights is not None and shared:
        raise reader.unsupported(operator, "weights that are one matrix")
    left = arranged(source, one, shared, mine, summed)
    if weights is not None:
        kernel = weights.transpose([other.index(x) for x in (*summed, *others)])
        kernel = kernel.reshape(left.shape[-1], -1).astype(np.float32)
        place = reader.place(operator, [left], (*left.shape[:-1], kernel.shape[1]))
        product: Node = reader.add(Dense(*place, kernel=kernel))
    else:
        right = arranged(reader.source(operator, sides[1]), other, shared, summed, others)
        shape = (*left.shape[:-1], right.shape[-1])
        product = reader.add(MatMul(*reader.place(operator, [left, right], shape)))
    found = [x for x in (*shared, *mine, *others) if x != sample]
    product = _reshaped(reader, operator, product, [sizes[x] for x in found])
    return transposed(reader, operator, product, [found.index(x) for x in out[1:]])


def _labels(reader: Reader, operator: Operator) -> tuple[list[Labels], Labels]:
    """The dimensions of both tensors and of the result, a letter each; dots become letters."""
    equation = operator.settings["equation"].decode().replace(" ", "")
    left, _, out = equation.partition("->")
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    terms = []
    for index, term in enumerate(left.split(",")):
        values = reader.constant(operator, index)
        rank = len(reader.source(operator, index).shape) + 1 if values is None else values.ndim
        dots = rank - len(term.replace("...", ""))
        terms.append([*term.replace("...", "".join(spare[:dots][::-1]))])
    dots = len(operator.shape) - len(out.replace("...", ""))
    return terms, [*out.replace("...", "".join(spare[:dots][::-1]))]
