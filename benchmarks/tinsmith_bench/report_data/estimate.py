"""Numbers with the range that they can be trusted to lie in."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Estimate:
    """A measured value and the range it can be trusted to lie in.

    Attributes:
        value: what was measured.
        low: the lower end of the range.
        high: the upper end of the range.
    """

    value: float
    low: float
    high: float

    def inverse(self) -> "Estimate":
        """The same ratio the other way round."""
        return Estimate(1 / self.value, 1 / self.high, 1 / self.low)

    def opposite(self) -> "Estimate":
        """The same difference the other way round."""
        return Estimate(-self.value, -self.high, -self.low)


def share_of(part: int, total: int) -> Estimate:
    """A share, 0 to 1, whose interval has not been computed yet: see `significance`."""
    share = part / total
    return Estimate(share, share, share)


def extremes(values: Sequence[float]) -> Estimate:
    """The median of a few runs, from the lowest to the highest."""
    return Estimate(median(values), min(values), max(values))
