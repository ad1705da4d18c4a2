"""Readers of thresholds: how Keras spells a ReLU with one, and an ELU with an alpha."""

import numpy as np

from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.ops import Affine, Function, Node
from tinsmith_export.ir.unrewritten import Above, LeakyReLU


def above(reader: Reader, operator: Operator) -> Node:
    """`x > threshold`, which `select` or a product reads."""
    limit = reader.known(operator, 1)
    if np.size(limit) != 1:
        raise reader.unsupported(operator, "a threshold that is one number")
    return reader.add(Above(*reader.place(operator), threshold=float(np.reshape(limit, ()))))


def chosen(reader: Reader, operator: Operator) -> Node:
    """What is above a threshold as it is, and else 0, or less of it."""
    condition, one = reader.source(operator, 0), reader.source(operator, 1)
    rest = reader.constant(operator, 2)
    if isinstance(condition, Above) and rest is not None and not np.any(rest):
        return thresholded(reader, operator, condition, one)
    other = None if rest is not None else reader.source(operator, 2)
    if isinstance(condition, Above) and condition.threshold == 0 and other is not None:
        if condition.inputs == (one.name,) == getattr(other, "inputs", ()):
            return _leaky(reader, operator, one, other)
        return _elu(reader, operator, condition, one, other)
    raise reader.unsupported(operator, "a choice between tensors")


def _leaky(reader: Reader, operator: Operator, one: Node, other: Node) -> Node:
    """`x`, but less of it where it is negative."""
    if not isinstance(other, Affine) or np.size(other.factor) != 1 or np.any(other.offset):
        raise reader.unsupported(operator, "a choice between tensors")
    place = reader.place(operator, [one])
    return reader.add(LeakyReLU(*place, negative_slope=float(other.factor)))


def thresholded(reader: Reader, operator: Operator, condition: Above, source: Node) -> Node:
    """`x`, but 0 where it is not above a threshold."""
    if condition.inputs != (source.name,):
        raise reader.unsupported(operator, "a choice between tensors")
    place = reader.place(operator, [source])
    return reader.add(Function(*place, function="thresholded", parameter=condition.threshold))


def _elu(reader: Reader, operator: Operator, condition: Node, one: Node, other: Node) -> Node:
    """`elu(x)`, but `alpha * elu(x)` where `x` is negative."""
    is_elu = isinstance(one, Function) and one.function == "elu" and one.inputs == condition.inputs
    if (
        not is_elu
        or not isinstance(other, Affine)
        or other.inputs != (one.name,)
        or np.size(other.factor) != 1
        or np.any(other.offset)
    ):
        raise reader.unsupported(operator, "a choice between tensors")
    place, alpha = reader.place(operator, [reader.nodes[one.inputs[0]]]), float(other.factor)
    return reader.add(Function(*place, function="elu", parameter=alpha))
