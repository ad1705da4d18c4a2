"""What a softmax is on integers: a table of exponentials, and exact quotients."""

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.ir.quantization import QuantParams

SOFTMAX_PARAMS = QuantParams(2.0**-8, -128)
"""What the codes of every softmax stand for: 0 to 255/256."""

_EXPONENTIAL_BITS = 23


def exponentials(scale: float) -> NDArray[np.uint32]:
    """`exp(-i * scale)` for codes that lie `i` below the largest, `uint32 (256,)`.

    In steps of 2^-23: sums of them are exact, in any order.
    """
    steps = np.arange(256) * float(np.float32(scale))
    found: NDArray[np.uint32] = np.rint(np.exp(-steps) * 2.0**_EXPONENTIAL_BITS).astype(np.uint32)
    return found


def softmax_codes(codes: NDArray[np.int8], table: NDArray[np.uint32]) -> NDArray[np.int8]:
    """The codes of a softmax along the last dimension: each exponential over their sum, rounded.

    Halves are rounded up, on integers alone; `table` is that of `exponentials`.
    """
    below = codes.max(-1, keepdims=True).astype(np.int16) - codes
    parts = table[below].astype(np.uint64)
    sums = parts.sum(-1, keepdims=True, dtype=np.uint64)
    rounded = (parts * np.uint64(512) + sums) // (sums * np.uint64(2))
    found: NDArray[np.int8] = (np.minimum(rounded.astype(np.int64), 255) - 128).astype(np.int8)
    return found
