"""Reads normalizations, as one over the last dimension or over groups of channels."""

from collections.abc import Sequence

import numpy as np

from tinsmith_export.frontend.deviations import Values
from tinsmith_export.frontend.moving import over_last
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import Operator
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization
from tinsmith_export.ir.ops import Node, Reshape


def normalization(reader: Reader, operator: Operator) -> Node:
    """A normalization, as one over the last dimension or over groups of channels."""
    source, axes = reader.source(operator), operator.settings["axes"]
    shape = source.shape
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    before = reader.nodes[source.inputs[0]] if isinstance(source, Reshape) else source
    groups = shape[kept[0]] if len(kept) == 1 else 0
    constants = [np.broadcast_to(operator.settings[name], shape) for name in ("gamma", "beta")]
    for axis, place in ((-1, len(shape) - 2), (0, 0)):
        split = (*shape[:place], groups * (shape[place + 1] if groups else 0), *shape[place + 2 :])
        if kept == [place] and operator.settings["centered"] and before.shape == split:
            values = [_by_place(one, (place, place + 1)) for one in constants]
            if values[0] is not None and values[1] is not None:
                found = _over_groups(reader, operator, before, axis % len(split), groups, values)
                return reader.add(Reshape(*reader.place(operator, [found])))
    if kept == [len(shape) - 1] and operator.settings["centered"]:
        values = [_by_place(one, (len(shape) - 1,)) for one in constants]
        if values[0] is not None and values[1] is not None:
            return _over_groups(reader, operator, source, kept[0], shape[-1], values)
    return _over_dimensions(reader, operator, source, (*kept, *axes), constants)


def _by_place(values: Values, axes: Sequence[int]) -> Values | None:
    """Numbers of a tensor that differ along some dimensions alone: one for each place of these."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    first = values[
        tuple(slice(1) if axis in others else slice(None) for axis in range(values.ndim))
    ]
    return (
        first.reshape(-1) if np.array_equal(np.broadcast_to(first, values.shape), values) else None
    )


def _over_groups(
    reader: Reader,
    operator: Operator,
    source: Node,
    axis: int,
    groups: int,
    constants: Sequence[Values | None],
) -> Node:
    """Over all places and the channels of a group; these lie in dimension `axis`."""

    def normalize(node: Node) -> Node:
        gamma, beta = (np.asarray(values, np.float32) for values in constants)
        rows = (int(np.prod(node.shape[:-1])), node.shape[-1])
        shape = node.shape if len(node.shape) in (2, 3) else rows
        flat = node
        if shape != node.shape:
            flat = reader.add(Reshape(*reader.place(operator, [node], shape)))
        found: Node = reader.add(
            GroupNormalization(
                *reader.place(operator, [flat], shape),
                gamma=gamma,
                beta=beta,
                epsilon=operator.settings["epsilon"],
                groups=groups,
            )
        )
        if shape == node.shape:
            return found
        return reader.add(Reshape(*reader.place(operator, [found], node.shape)))

    return over_last(reader, operator, source, axis, normalize)


def _over_dimensions(
    reader: Reader,
    operator: Operator,
    source: Node,
    order: tuple[int, ...],
    constants: Sequence[Values],
) -> Node:
    """Over some dimensions, which become the last one; `order` ends with them."""
    axes = operator.settings["axes"]
    values = [_by_place(one, axes) for one in constants]
    if values[0] is None or values[1] is None:
        raise reader.unsupported(operator, "scale and offset over the dimensions of the mean")
    gamma, beta = (one.astype(np.float32) for one in values if one is not None)
    turned = tuple(source.shape[axis] for axis in order)
    flat = (*turned[: -len(axes)], len(gamma))
    node = source
    if order != tuple(range(len(order))):
        place = reader.place(operator, [node], turned)
        node = reader.add(Transpose(*place, permutation=order), inner=True)
    if flat != turned:
        node = reader.add(Reshape(*reader.place(operator, [node], flat)), inner=True)
    node = reader.add(
        LayerNormalization(
            *reader.place(operator, [node], flat),
            gamma=gamma,
            beta=beta,
            epsilon=operator.settings["epsilon"],
            centered=operator.settings["centered"],
        )
    )
    if flat != turned:
        node = reader.add(Reshape(*reader.place(operator, [node], turned)), inner=True)
    if order != tuple(range(len(order))):
        back = tuple(order.index(axis) for axis in range(len(order)))
        place = reader.place(operator, [node], source.shape)
        node = reader.add(Transpose(*place, permutation=back), inner=True)
    return node
