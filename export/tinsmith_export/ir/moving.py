"""Operators that move numbers along any dimension; they make no new ones."""

from dataclasses import dataclass

from tinsmith_export.ir.ops import Rearrangement


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Rearrangement):
    """The dimensions in another order: dimension `i` of the output is `axes[i]` of the input."""

    axes: tuple[int, ...]

    @property
    def keeps_channels(self) -> bool:
        """See `Rearrangement.keeps_channels`."""
        return self.axes[-1] == len(self.axes) - 1
