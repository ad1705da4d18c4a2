"""Numbers with the range that they can be trusted to lie in."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray

# The two-sided 95 % point of the normal distribution, 1.96.
Z95 = NormalDist().inv_cdf(0.975)
RESAMPLES = 2000
# What another run finds different and no process of this one could know: who else uses the machine
# meanwhile. On a busy machine the intervals of two runs of 200 rounds missed each other by up to
# 0.4 %, one ratio in 12; every interval of a ratio is so much wider, on either side.
BETWEEN_RUNS = 0.005


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


def share_of(part: int, total: int) -> Estimate:
    """A share, 0 to 1, whose interval has not been computed yet: see `significance`."""
    share = part / total
    return Estimate(share, share, share)


def extremes(values: Sequence[float]) -> Estimate:
    """The median of a few runs, from the lowest to the highest."""
    return Estimate(median(values), min(values), max(values))


def paired_ratio(
    candidate: NDArray[np.float64],
    baseline: NDArray[np.float64],
    blocks: int,
    rng: np.random.Generator,
) -> Estimate:
    """Ratio of two latencies that were measured in the same rounds, with its interval at 95 %.

    What slows a round down slows both down, so the ratio is taken round by round. Rounds of one
    block are not independent of each other; so the median of each block is taken, and whole
    blocks are drawn. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    chapters 8 (blocks) and 13 (percentile interval).

    Args:
        candidate: the median of each round, `(rounds,)`.
        baseline: likewise, of the same rounds.
        blocks: how many parts of equal length the rounds fall into, at least 2.
        rng: draws the blocks.
    """
    # The mean of logarithms treats both directions alike: one ratio is the other's inverse.
    return _interval([_block_medians(np.log(candidate / baseline), blocks)], rng)


def unpaired_ratio(
    candidate: NDArray[np.float64],
    baseline: NDArray[np.float64],
    blocks: tuple[int, int],
    rng: np.random.Generator,
) -> Estimate:
    """Ratio of two latencies that were measured in different runs, with its interval at 95 %.

    As `paired_ratio`, but each side's blocks are drawn by themselves.

    Args:
        candidate: the median of each round, `(rounds,)`.
        baseline: the median of each round of the other run, `(other rounds,)`.
        blocks: how many blocks each side has.
        rng: draws the blocks.
    """
    sides = zip((candidate, baseline), blocks, strict=True)
    mine, its = (_block_medians(np.log(rounds), count) for rounds, count in sides)
    return _interval([mine, -its], rng)


def _block_medians(logs: NDArray[np.float64], blocks: int) -> NDArray[np.float64]:
    medians: NDArray[np.float64] = np.median(logs.reshape(blocks, -1), axis=1)
    return medians


def _interval(sides: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> Estimate:
    """The exponential of a sum of means, with its expanded percentile interval."""
    means = sum(np.mean(side[_draw(len(side), rng)], axis=1) for side in sides)
    tail = 100 * NormalDist().cdf(-_expanded_z(min(map(len, sides))))
    low, high = np.percentile(means, (tail, 100 - tail))
    value = sum(float(np.mean(side)) for side in sides)
    low, high = min(low, value) - BETWEEN_RUNS, max(high, value) + BETWEEN_RUNS
    return Estimate(*(float(np.exp(x)) for x in (value, low, high)))


def _expanded_z(count: int) -> float:
    """What stands in for 1.96 where there are few blocks.

    A percentile interval is too narrow for few: by the factor sqrt((n - 1) / n), and for want of
    Student's t. Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The
    American Statistician 69, section 4.4 (expanded percentile interval); for t Abramowitz and
    Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    freedom = count - 1
    t = Z95 + (Z95**3 + Z95) / (4 * freedom)
    t += (5 * Z95**5 + 16 * Z95**3 + 3 * Z95) / (96 * freedom**2)
    t += (3 * Z95**7 + 19 * Z95**5 + 17 * Z95**3 - 15 * Z95) / (384 * freedom**3)
    return t * sqrt(count / freedom)


def _draw(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(count, size=(RESAMPLES, count))
