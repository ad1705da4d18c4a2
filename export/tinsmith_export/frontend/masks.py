"""Readers of what is chosen by a constant: masks that are the same for every image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.frontend.arithmetic import affine
from tinsmith_export.frontend.choices import chosen
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.ops import Add, Affine, Node


def select(reader: Reader, operator: Operator) -> Node:
    """One tensor or another at each place, by a constant or by a threshold."""
    condition = reader.constants.get(operator.inputs[0])
    if condition is None:
        return chosen(reader, operator)
    mask = _of_one_image(reader, operator, condition.astype(np.float32))
    kept = {1: mask, 2: 1 - mask}
    factors: dict[str, Any] = {}
    offset: Any = np.zeros((), np.float32)
    for index, share in kept.items():
        values = reader.constants.get(operator.inputs[index])
        if values is None:
            name, factor, added = _peeled(reader, reader.source(operator, index))
            factors[name] = factors.get(name, 0) + share * factor
            offset = offset + share * added
        else:
            offset = offset + share * _of_one_image(reader, operator, np.nan_to_num(values))
    parts = [
        affine(reader, operator, reader.nodes[name], factor, 0.0 if place else offset)
        for place, (name, factor) in enumerate(factors.items())
    ]
    return parts[0] if len(parts) == 1 else reader.add(Add(*reader.place(operator, parts)))


def _peeled(reader: Reader, node: Node) -> tuple[str, float, float]:
    """What a node is a factor and an offset away from, where it has one of each, and these."""
    if isinstance(node, Affine) and node.factor.size == node.offset.size == 1:
        return node.inputs[0], float(node.factor), float(node.offset)
    return node.name, 1.0, 0.0


def band_part(reader: Reader, operator: Operator) -> Node:
    """The diagonal of matrices and what lies next to it; 0 elsewhere."""
    source = reader.source(operator)
    lower, upper = (int(np.reshape(reader.known(operator, index), ())) for index in (1, 2))
    rows, columns = np.indices(source.shape[-2:])
    kept = (lower < 0) | (rows - columns <= lower)
    kept &= (upper < 0) | (columns - rows <= upper)
    return affine(reader, operator, source, factor=kept.astype(np.float32))


def _of_one_image(reader: Reader, operator: Operator, values: NDArray[Any]) -> NDArray[Any]:
    """A constant without the batch, for which it must be the same."""
    if values.ndim < len(operator.shape):
        return values
    if not np.array_equal(np.broadcast_to(values[:1], values.shape), values):
        raise reader.unsupported(operator, "a mask that is the same for every image")
    found: NDArray[Any] = values[0]
    return found
