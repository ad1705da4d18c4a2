"""What a Keras model gives."""

from typing import Any

from tinsmith_runtime.batch import Arrays, joined

BATCH_SIZE = 64


def run(model: Any, inputs: Arrays, batch_size: int = BATCH_SIZE) -> Arrays:
    """Runs a Keras model over inputs in batches.

    Args:
        model: of either Keras, or a `SavedModel`.
        inputs: `float32 (N, …)`, as many as the model has.
        batch_size: how many at a time.

    Returns:
        `float32 (N, …)`, as many as the model has outputs.
    """
    given = list(inputs) if isinstance(inputs, tuple) else inputs
    found = model.predict(given, batch_size=batch_size, verbose=0)
    return joined(found) if isinstance(found, list | tuple) else found
