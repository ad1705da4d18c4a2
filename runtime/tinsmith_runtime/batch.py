"""A batch: an array for a model's one input, a tuple of arrays in order for several.

What a model gives is the same of its outputs. All arrays of a batch have the same first axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tinsmith_runtime.errors import InputError
from tinsmith_runtime.lazy import np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# As text: numpy.typing, and what annotations are made of, take time that a start does not have.
Array: TypeAlias = "np.ndarray[tuple[Any, ...], np.dtype[Any]]"
Arrays: TypeAlias = "Array | tuple[Array, ...]"


def parts(batch: Arrays) -> tuple[Array, ...]:
    """Gives the arrays of a batch, in order."""
    return batch if isinstance(batch, tuple) else (batch,)


def joined(arrays: Sequence[Array]) -> Arrays:
    """Makes a batch of its arrays."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def each(function: Callable[[Array], Array], batch: Arrays) -> Arrays:
    """Makes a batch of what a function gives for each array."""
    return tuple(map(function, batch)) if isinstance(batch, tuple) else function(batch)


def rows(batch: Arrays, index: Any) -> Arrays:
    """Indexes the first axis of each array."""
    return each(lambda array: array[index], batch)


def count(batch: Arrays) -> int:
    """Says how many samples a batch holds."""
    return len(batch[0]) if isinstance(batch, tuple) else len(batch)


def concatenate(batches: Iterable[Arrays]) -> Arrays:
    """Puts batches behind each other."""
    return joined([np.concatenate(arrays) for arrays in zip(*map(parts, batches), strict=True)])


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Names so many things: `name` if there is one, `name_0`, `name_1` and so on for several."""
    return (name,) if count == 1 else tuple(f"{name}_{i}" for i in range(count))


def require_as_many(name: str, arrays: Sequence[Array]) -> None:
    """Raises an `InputError` unless all arrays have the same first axis."""
    sizes = [len(array) for array in arrays]
    if len(set(sizes)) > 1:
        raise InputError(f"{name}: expected as many samples of each input, got {sizes}")
