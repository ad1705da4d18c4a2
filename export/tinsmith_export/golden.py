"""Golden vectors: real inputs whose int8 outputs every engine, anywhere, must give."""

import io

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError

COUNT = 32


def choose_golden(
    pixels: NDArray[np.uint8],
    codes: NDArray[np.int8],
    other_codes: NDArray[np.int8],
    logits: NDArray[np.float32],
) -> tuple[bytes, int]:
    """Takes the first inputs on which two engines agree to the bit.

    Args:
        pixels: `uint8 (N, H, W, C)`.
        codes: `int8 (N, classes)` from the one engine.
        other_codes: the same from the other.
        logits: `float32 (N, classes)` from the float model.

    Returns:
        The bytes of `golden.npz` and the number of vectors in it.

    Raises:
        ConversionError: the engines agree on no input.
    """
    agreed = np.flatnonzero((codes == other_codes).all(axis=1))[:COUNT]
    if not len(agreed):
        raise ConversionError("the engines agree to the bit on no input: no golden vectors")
    buffer = io.BytesIO()
    np.savez(
        buffer,
        inputs=pixels[agreed],
        outputs_int8=codes[agreed],
        outputs_float=logits[agreed].astype(np.float32),
    )
    return buffer.getvalue(), len(agreed)
