"""From logits to probabilities, in float: what a manifest's `activation` names."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # tanh does not overflow, 1 / (1 + exp(-x)) does.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)


ACTIVATIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "none": lambda logits: logits,
}
