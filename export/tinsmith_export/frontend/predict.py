"""What a Keras model gives."""

from typing import Any

import numpy as np

from tinsmith_data.interrupts import held_interrupts
from tinsmith_runtime.batch import Arrays, concatenate, count, joined, rows

BATCH_SIZE = 64


@held_interrupts()
def run(model: Any, inputs: Arrays, batch_size: int = BATCH_SIZE) -> Arrays:
    """Runs a Keras model over inputs in batches.

    Args:
        model: of either Keras, or a `SavedModel`.
        inputs: `float32 (N, …)`, as many as the model has.
        batch_size: how many at a time.

    Returns:
        `float32 (N, …)`, as many as the model has outputs.
    """
    import tensorflow as tf

    given = list(inputs) if isinstance(inputs, tuple) else inputs
    try:
        found = model.predict(given, batch_size=batch_size, verbose=0)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return _by_xla(model, inputs, batch_size)
    return joined(found) if isinstance(found, list | tuple) else found


def _by_xla(model: Any, inputs: Arrays, batch_size: int) -> Arrays:
    """The same by XLA: on a CPU, it alone has kernels for images whose channels come first."""
    import tensorflow as tf

    call = tf.function(lambda given: model(given, training=False), jit_compile=True)
    found = []
    for first in range(0, count(inputs), batch_size):
        outputs = call(rows(inputs, slice(first, first + batch_size)))
        found.append(joined([np.asarray(output) for output in tf.nest.flatten(outputs)]))
    return concatenate(found)
