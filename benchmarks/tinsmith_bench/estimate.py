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


def wilson(correct: int, total: int) -> Estimate:
    """A share with its Wilson score interval at 95 %.

    Unlike the normal interval it stays inside 0..1 and holds near 100 %, where good classifiers
    are. Source: Wilson 1927, "Probable inference, the law of succession, and statistical
    inference", JASA 22.

    Args:
        correct: how many predictions were right.
        total: how many there were, at least 1.

    Returns:
        The share as a fraction, 0 to 1.
    """
    share = correct / total
    centre = share + Z95**2 / (2 * total)
    spread = Z95 * sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2))
    scale = 1 + Z95**2 / total
    # At 0 % and 100 % one end equals the value exactly; rounding must not carry it past.
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return Estimate(share, min(share, max(0.0, low)), max(share, min(1.0, high)))


def extremes(values: Sequence[float]) -> Estimate:
    """The median of a few runs, from the lowest to the highest."""
    return Estimate(median(values), min(values), max(values))


def paired_ratio(
    candidate: NDArray[np.float64],
    baseline: NDArray[np.float64],
    block: int,
    rng: np.random.Generator,
) -> Estimate:
    """Ratio of two medians that were measured in the same rounds, with its interval at 95 %.

    What slows a round down slows both down, so the ratio is taken round by round and the median
    of those is given. Rounds next to each other are not independent of each other; whole blocks of
    them are drawn. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters
    8 (blocks) and 13 (percentile interval).

    Args:
        candidate: the median of each round, `(rounds,)`.
        baseline: likewise, of the same rounds.
        block: how many rounds after each other are drawn together; divides `rounds`.
        rng: draws the blocks.
    """
    # The median of logarithms treats both directions alike: one ratio is the other's inverse.
    logs = np.log(candidate / baseline)
    draws = logs.reshape(-1, block)[_draw(len(logs) // block, rng)]
    low, high = np.percentile(np.median(draws.reshape(RESAMPLES, -1), axis=1), (2.5, 97.5))
    return Estimate(*(float(np.exp(x)) for x in (np.median(logs), low, high)))


def unpaired_ratio(
    candidate: NDArray[np.float64],
    baseline: NDArray[np.float64],
    blocks: tuple[int, int],
    rng: np.random.Generator,
) -> Estimate:
    """Ratio of two medians that were measured in different runs, with its interval at 95 %.

    As `paired_ratio`, but each side's blocks are drawn by themselves.

    Args:
        candidate: the median of each round, `(rounds,)`.
        baseline: the median of each round of the other run, `(other rounds,)`.
        blocks: how many rounds are drawn together, of each side.
        rng: draws the blocks.
    """
    medians = []
    for rounds, block in zip((candidate, baseline), blocks, strict=True):
        draws = np.log(rounds).reshape(-1, block)[_draw(len(rounds) // block, rng)]
        medians.append(np.median(draws.reshape(RESAMPLES, -1), axis=1))
    low, high = np.exp(np.percentile(medians[0] - medians[1], (2.5, 97.5)))
    return Estimate(float(np.median(candidate) / np.median(baseline)), float(low), float(high))


def _draw(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(count, size=(RESAMPLES, count))
