"""Operators that move numbers along any dimension; they make no new ones."""

from dataclasses import dataclass

from tinsmith_export.ir.ops import Rearrangement


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Rearrangement):
    """Dimension `i` of the output is dimension `permutation[i]` of the input, without the batch."""

    permutation: tuple[int, ...]

    @property
    def keeps_channels(self) -> bool:
        """See `Rearrangement.keeps_channels`."""
        return self.permutation[-1] == len(self.permutation) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Rearrangement):
    """A part of a tensor: place `i` of each dimension of the output is `begin + i * step`.

    Attributes:
        begin: of each dimension.
        steps: likewise; one below 0 goes backwards.
    """

    begin: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def keeps_channels(self) -> bool:
        """See `Rearrangement.keeps_channels`."""
        return self.begin[-1] == 0 and self.steps[-1] == 1

    def slices(self) -> tuple[slice, ...]:
        """The part of each dimension, the batch not counted."""
        ends = (
            first + size * step
            for first, size, step in zip(self.begin, self.shape, self.steps, strict=True)
        )
        return tuple(
            slice(first, end if end >= 0 else None, step)
            for first, end, step in zip(self.begin, ends, self.steps, strict=True)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Gather(Rearrangement):
    """Places of one dimension, in any order and as often as one likes.

    Attributes:
        axis: the dimension, from 0, the batch not counted.
        indices: the place of the input that each place of the output is.
    """

    axis: int
    indices: tuple[int, ...]

    @property
    def keeps_channels(self) -> bool:
        """See `Rearrangement.keeps_channels`."""
        return self.axis != len(self.shape) - 1
