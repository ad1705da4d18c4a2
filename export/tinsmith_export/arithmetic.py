"""Readers of the operators that compute each number by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinsmith_export.graph import Node
from tinsmith_export.trace import BATCH, Operator

if TYPE_CHECKING:
    from tinsmith_export.reader import Reader


def _affine(
    reader: Reader, operator: Operator, source: Node, factor: Any = 1.0, offset: Any = 0.0
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


def arithmetic(reader: Reader, operator: Operator) -> str:
    """An operator of two tensors, or of a tensor and a constant."""
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


def negate(reader: Reader, operator: Operator) -> str:
    """`-x`."""
    return _affine(reader, operator, reader.source(operator), factor=-1.0)


def batch_norm(reader: Reader, operator: Operator) -> str:
    """Batch normalization: a factor and an offset for each channel."""
    if operator.settings["is_training"]:
        return _layer_norm(reader, operator)
    source = reader.image(operator)
    gamma, beta, mean, variance = (
        reader.weights(operator, index).astype(np.float64) for index in range(1, 5)
    )
    factor = gamma / np.sqrt(variance + operator.settings["epsilon"])
    return _affine(reader, operator, source, factor, beta - mean * factor)


def _layer_norm(reader: Reader, operator: Operator) -> str:
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


def clip(low: float | None, high: float | None) -> Callable[[Reader, Operator], str]:
    """Gives the reader of a clip between two limits."""
    return lambda reader, operator: reader.add(operator, "Clip", clip=(low, high))


def function(name: str) -> Callable[[Reader, Operator], str]:
    """Gives the reader of a function of that name."""
    return lambda reader, operator: reader.add(operator, "Function", function=name)


def leaky_relu(reader: Reader, operator: Operator) -> str:
    """A leaky ReLU."""
    return reader.add(operator, "LeakyReLU", negative_slope=operator.settings["alpha"])
