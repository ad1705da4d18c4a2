"""What a test knows of a value and its type does not say: each check fails where it is wrong."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def some(value: T | None) -> T:
    """The value, which is not None."""
    assert value is not None
    return value


def array(value: object) -> NDArray[Any]:
    """The one array of a model with one input or one output."""
    assert isinstance(value, np.ndarray)
    return value
