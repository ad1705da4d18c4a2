"""Golden vectors: real inputs whose int8 outputs every engine, anywhere, must give."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError

COUNT = 32


def choose_golden(
    inputs: NDArray[Any],
    codes: NDArray[np.int8],
    other_codes: NDArray[np.int8],
    reals: NDArray[np.float32],
) -> tuple[bytes, int]:
    """Takes the first inputs on which two engines agree to the bit.

    Args:
        inputs: `uint8 (N, H, W, C)` pixels or `float32 (N, …)` features.
        codes: `int8 (N, …)` from the one engine.
        other_codes: the same from the other.
        reals: `float32 (N, …)` from the float model.

    Returns:
        The bytes of `golden.npz` and the number of vectors in it.

    Raises:
        ConversionError: the engines agree on no input.
    """
    equal = (codes == other_codes).reshape(len(codes), -1).all(axis=1)
    agreed = np.flatnonzero(equal)[:COUNT]
    if not len(agreed):
        raise ConversionError("the engines agree to the bit on no input: no golden vectors")
    buffer = io.BytesIO()
    np.savez(
        buffer,
        inputs=inputs[agreed],
        outputs_int8=codes[agreed],
        outputs_float=reals[agreed].astype(np.float32),
    )
    return buffer.getvalue(), len(agreed)
