"""What engines' buffers begin with; apart, for it needs numpy, which not every start does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinsmith_runtime.batch import Array

SIGN_BIT = np.array(0x80, np.uint8)  # numpy takes a scalar in twice the time
"""`code ^ SIGN_BIT`: from an int8 code to the same plus 128 as uint8, and back."""

NO_BATCH: Array = np.empty(0, np.uint8)
"""Stands for a buffer that is not there: no batch has its shape, `(0,)`."""
