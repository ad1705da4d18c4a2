"""Calibration: the lowest and the highest output of every layer on real inputs."""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.reference.rebuild import rebuild, tensors
from tinsmith_runtime.batch import Arrays, count, rows

_BATCH_SIZE = 32


def calibrate(graph: Graph, inputs: Arrays) -> dict[str, tuple[float, float]]:
    """Measures the output of each layer that has a range of its own.

    Args:
        graph: a rewritten graph.
        inputs: `float32 (N, …)`, as many as the graph has.

    Returns:
        Layer name to lowest and highest output.

    Raises:
        ConversionError: a layer gives NaN or infinity.
    """
    model = rebuild(graph)
    names = [node.name for node in graph.requantized]
    outputs = [model.get_layer(name).output for name in names]
    probe = tf_keras.Model(model.input, outputs if len(names) > 1 else [outputs])

    @tf.function  # type: ignore[untyped-decorator]
    def extremes(batch: Any) -> tf.Tensor:
        found = tf.nest.flatten(probe(batch, training=False))
        return tf.stack([(tf.reduce_min(x), tf.reduce_max(x)) for x in found])

    batches = [
        extremes(tensors(rows(inputs, slice(start, start + _BATCH_SIZE)))).numpy()
        for start in range(0, count(inputs), _BATCH_SIZE)
    ]
    lows, highs = np.min(batches, axis=0)[:, 0], np.max(batches, axis=0)[:, 1]
    for name, low, high in zip(names, lows, highs, strict=True):
        if not np.isfinite(low) or not np.isfinite(high):
            raise ConversionError(f"layer `{name}` gives NaN or infinity on the calibration inputs")
    return {
        name: (float(low), float(high)) for name, low, high in zip(names, lows, highs, strict=True)
    }
