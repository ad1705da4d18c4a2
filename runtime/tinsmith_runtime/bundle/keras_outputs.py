"""What the Keras model gives: a model file's outputs, those joined again that are parts of one."""

from __future__ import annotations

import math
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from tinsmith_runtime.bundle.schema import Output
from tinsmith_runtime.lazy import np
from tinsmith_runtime.record import frozen_dataclass, mismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tinsmith_runtime.batch import Array

_Place: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


@frozen_dataclass(frozen=True)
class KerasOutput:
    """One output of the Keras model.

    Attributes:
        name: of the output, or what its parts say they are parts of.
        parts: the outputs of the model files that it is made of, in their order; often one.
    """

    name: str
    parts: tuple[Output, ...]

    @property
    def is_joined(self) -> bool:
        """Whether it is made of parts."""
        return bool(self.parts[0].part_of)

    @property
    def kind(self) -> str:
        """As of an `Output`."""
        return self.parts[0].kind

    @property
    def activation(self) -> str:
        """As of an `Output`; parts have theirs applied before they are joined."""
        return "none" if self.is_joined else self.parts[0].activation

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        if not self.is_joined:
            return self.parts[0].sample_shape
        ends = [map(sum, zip(*_place(part), strict=True)) for part in self.parts]
        return tuple(max(sizes) for sizes in zip(*ends, strict=True))


def keras_outputs(outputs: Sequence[Output]) -> tuple[KerasOutput, ...]:
    """What a model of these outputs gives, in their order."""
    groups = groupby(enumerate(outputs), lambda pair: pair[1].part_of or pair[0])
    found = [tuple(output for _, output in group) for _, group in groups]
    return tuple(KerasOutput(parts[0].part_of or parts[0].name, parts) for parts in found)


def join(found: Sequence[KerasOutput], arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Joins parts.

    Args:
        found: what `keras_outputs` gives.
        arrays: `(N, ...)` of each output of the model file, in their order.

    Returns:
        `(N, ...)` of each of `found`.
    """
    rest = iter(arrays)
    return tuple(_joined(one, [next(rest) for _ in one.parts]) for one in found)


def named(found: Sequence[KerasOutput], arrays: Sequence[Array]) -> Any:
    """Joins as `join`; gives the one array, or a dict of several by their names."""
    joined = join(found, arrays)
    names = (one.name for one in found)
    return joined[0] if len(joined) == 1 else dict(zip(names, joined, strict=True))


def _joined(one: KerasOutput, arrays: Sequence[Array]) -> Array:
    if not one.is_joined:
        return arrays[0]
    whole = np.empty((len(arrays[0]), *one.sample_shape), arrays[0].dtype)
    for part, array in zip(one.parts, arrays, strict=True):
        places = zip(*_place(part), strict=True)
        whole[(slice(None), *(slice(at, at + size) for at, size in places))] = array
    return whole


def part_problems(outputs: Sequence[Output]) -> Iterator[str]:
    """Says, with each field's path, which parts cannot be joined."""
    for index, output in enumerate(outputs):
        path, axes = f"outputs[{index}]", len(output.sample_shape) if output.part_of else 0
        if len(output.start) != axes or any(at < 0 for at in output.start):
            wanted = f"a number from 0 for each of {axes} axes" if axes else "none: it is no part"
            yield mismatch(f"{path}.start", wanted, output.start)
        if output.part_of and output.kind != "values":
            yield mismatch(f"{path}.kind", "values, for a part", output.kind)
    found = keras_outputs(outputs)
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        wanted = "parts of one behind each other, under a name of their own"
        yield mismatch("outputs", wanted, names)
    for one in found:
        if one.is_joined and not _fills(one):
            wanted = "two or more that fill an array, each place once: start and size"
            places = [_place(part) for part in one.parts]
            yield mismatch(f"outputs: parts of {one.name!r}", wanted, places)


def _fills(one: KerasOutput) -> bool:
    """Whether the parts are blocks of an array, of which no place is missing or there twice."""
    places = [_place(part) for part in one.parts]
    if len({len(numbers) for place in places for numbers in place}) > 1 or len(places) < 2:
        return False
    filled = sum(math.prod(size) for _, size in places)
    apart = all(_are_apart(*pair) for pair in combinations(places, 2))
    return apart and filled == math.prod(one.sample_shape)


def _place(part: Output) -> _Place:
    """Where a part begins, and its size."""
    return part.start, part.sample_shape


def _are_apart(one: _Place, other: _Place) -> bool:
    """Whether two blocks have no place in common."""
    axes = zip(*one, *other, strict=True)
    return any(a + size <= b or b + width <= a for a, size, b, width in axes)
