"""From an engine's outputs to the floats that a user sees: what a manifest's `activation` names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from tinsmith_runtime.backends.protocol import signed
from tinsmith_runtime.lazy import np

if TYPE_CHECKING:  # numpy.typing is left to programs that use it
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from tinsmith_runtime.bundle import Output

    Decode: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]

# Up to here no power of a code, and no sum of them, leaves the range of float32: exp(80) is 6e34.
_MAX_SOFTMAX_SCALE = 80 / 128


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # tanh does not overflow, 1 / (1 + exp(-x)) does.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)


ACTIVATIONS: dict[str, Decode] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "none": lambda logits: logits,
}


def probabilities(output: Output, codes: Iterable[int]) -> list[float]:
    """Gives what one sample's int8 codes stand for, activation included, without numpy."""
    reals = [(code - output.zero_point) * output.scale for code in codes]
    if output.activation == "sigmoid":
        return [0.5 * (1 + math.tanh(0.5 * real)) for real in reals]
    if output.activation == "softmax":
        most = max(reals)
        powers = [math.exp(real - most) for real in reals]
        total = sum(powers)
        return [power / total for power in powers]
    return reals


def code_decoder(output: Output, dtype: np.dtype[Any] | str) -> Decode:
    """Makes the function that turns an engine's codes into floats, activation included.

    There are but 256 codes: what each becomes is looked up in a table that is made once.

    Args:
        output: whose scale, zero point and activation they are.
        dtype: `int8`, or `uint8`, int8 codes plus 128.

    Returns:
        A function from codes `(N, ...)` to a new `float32 (N, ...)`.
    """
    places = np.arange(256, dtype=np.uint8)
    # An int8 code is a place of its own: a negative index counts from the end.
    codes = (places.view(np.int8) if dtype == "int8" else signed(places)).astype(np.float64)
    if output.activation == "softmax" and output.scale <= _MAX_SOFTMAX_SCALE:
        powers = np.exp(codes * output.scale).astype(np.float32)
        classes = output.shape[-1] or 0
        column, row = np.ones((classes, 1), np.float32), np.ones((1, classes), np.float32)

        def softmax(found: NDArray[Any]) -> NDArray[np.float32]:
            chosen: NDArray[np.float32] = powers.take(found)
            # A product with ones is a sum, and one with a row of ones its copies: numpy divides
            # arrays of one shape in less time. Each class is divided by the same: ties are kept.
            chosen /= chosen.dot(column).dot(row)
            return chosen

        return softmax
    reals = ((codes - output.zero_point) * np.float32(output.scale)).astype(np.float32)
    if output.activation == "softmax":
        return lambda found: _softmax(reals.take(found))
    return ACTIVATIONS[output.activation](reals).take
