"""What goes into a model and what comes out: an array, or a tuple of arrays where there are several.

The first axis of all of them counts the inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = NDArray[Any] | tuple[NDArray[Any], ...]


def parts(arrays: Arrays) -> tuple[NDArray[Any], ...]:
    """Each array, in order."""
    return arrays if isinstance(arrays, tuple) else (arrays,)


def joined(found: Sequence[NDArray[Any]]) -> Arrays:
    """The array itself where there is one, a tuple of several."""
    return tuple(found) if len(found) > 1 else found[0]


def mapped(function: Callable[..., NDArray[Any]], *arrays: Any) -> Arrays:
    """What a function makes of each array; of several arguments, of the first of each first."""
    return joined([function(*each) for each in zip(*map(parts, arrays), strict=True)])


def count(arrays: Arrays) -> int:
    """How many inputs, or outputs of so many."""
    return len(parts(arrays)[0])


def rows(arrays: Arrays, chosen: Any) -> Arrays:
    """Some of them: a slice, places, or a mask."""
    return mapped(lambda array: array[chosen], arrays)


def concatenate(batches: Sequence[Arrays]) -> Arrays:
    """One batch of several."""
    return joined([np.concatenate(each) for each in zip(*map(parts, batches), strict=True)])


def side_by_side(outputs: Arrays) -> NDArray[Any]:
    """Several outputs side by side, `(N, …)`; one stays as it is."""
    if not isinstance(outputs, tuple):
        return outputs
    return np.concatenate([output.reshape(len(output), -1) for output in outputs], axis=1)


def leveled(outputs: Arrays, reference: Arrays) -> NDArray[np.float32]:
    """Several outputs side by side, each divided by its own spread in a reference.

    A mean over all of it is the mean over the outputs of each one's mean, however many numbers it
    has. One output stays as it is.
    """
    if not isinstance(outputs, tuple):
        return outputs
    sizes = [output[0].size for output in outputs]
    level = sum(sizes) / len(sizes)
    return side_by_side(
        tuple(
            output * np.float32(np.sqrt(level / size) / spread_of(like))
            for output, size, like in zip(outputs, sizes, parts(reference), strict=True)
        )
    )


def spread_of(outputs: NDArray[np.float32]) -> float:
    """The standard deviation, but no zero."""
    return max(float(outputs.std()), 1e-8)
