"""Operators on images whose channels come first: each is read as one with the channels last.

Most of the transpositions around them meet their reverse; `passes.transpositions` takes these away.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tinsmith_export.frontend.moving import over_last
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.trace import BATCH, Operator
from tinsmith_export.ir.ops import Node

_SETTINGS = ("ksize", "strides", "dilations")
"""Those with a number for each dimension."""


def is_channels_first(operator: Operator) -> bool:
    """Whether an operator takes images `(N, C, H, W)`."""
    if operator.settings.get("data_format") != b"NCHW":
        return False
    return len(operator.shape) == 4 and operator.shape[0] == BATCH


def read_channels_first(
    reader: Reader, operator: Operator, read: Callable[[Reader, Operator], Node]
) -> Node:
    """Reads an operator on images `(N, C, H, W)`.

    Args:
        reader: to add its nodes to.
        operator: of the form that `is_channels_first` tells.
        read: reads one on images `(N, H, W, C)`.
    """
    place = 2 if operator.kind == "Conv2DBackpropInput" else 0

    def compute(image: Node) -> Node:
        inputs = list(operator.inputs)
        inputs[place] += "/channels_last"
        reader.names[inputs[place]] = image.name
        settings = {
            name: _last(value) if name in _SETTINGS else value
            for name, value in operator.settings.items()
        }
        settings["data_format"] = b"NHWC"
        shape = _last(operator.shape)
        return read(reader, replace(operator, inputs=tuple(inputs), shape=shape, settings=settings))

    return over_last(reader, operator, reader.source(operator, place), 0, compute)


def _last(values: Sequence[Any]) -> tuple[Any, ...]:
    """One number for each dimension, that of the channels last."""
    batch, channels, *image = values
    return batch, *image, channels
