"""Ratios of latencies, with the range that they can be trusted to lie in."""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data.estimate import Estimate

# The two-sided 95 % point of the normal distribution, 1.96.
Z95 = NormalDist().inv_cdf(0.975)
RESAMPLES = 2000
# What another run finds different and no process of this one could know: who else uses the machine
# meanwhile. On a busy machine the intervals of two runs of 200 rounds missed each other by up to
# 0.4 %, one ratio in 12; every interval of a ratio is so much wider, on either side.
BETWEEN_RUNS = 0.005


def paired_ratio(
    times: NDArray[np.float64],
    reference: NDArray[np.float64],
    blocks: int,
    rng: np.random.Generator,
) -> Estimate:
    """Ratio of two latencies that were measured in the same rounds, with its interval at 95 %.

    What slows a round down slows both down, so the ratio is taken round by round. Rounds of one
    block are not independent of each other; so the median of each block is taken, and whole
    blocks are drawn. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    chapters 8 (blocks) and 13 (percentile interval).

    Args:
        times: the median of each round, `(rounds,)`.
        reference: likewise, of the same rounds.
        blocks: how many parts of equal length the rounds fall into, at least 2.
        rng: draws the blocks.
    """
    # The mean of logarithms treats both directions alike: one ratio is the other's inverse.
    return _interval([_block_medians(np.log(times / reference), blocks)], rng)


def unpaired_ratio(
    times: NDArray[np.float64],
    reference: NDArray[np.float64],
    blocks: tuple[int, int],
    rng: np.random.Generator,
) -> Estimate:
    """Ratio of two latencies that were measured in different runs, with its interval at 95 %.

    As `paired_ratio`, but each side's blocks are drawn by themselves.

    Args:
        times: the median of each round, `(rounds,)`.
        reference: the median of each round of the other run, `(other rounds,)`.
        blocks: how many blocks each side has.
        rng: draws the blocks.
    """
    sides = zip((times, reference), blocks, strict=True)
    mine, its = (_block_medians(np.log(rounds), count) for rounds, count in sides)
    return _interval([mine, -its], rng)


def time_interval(
    times: NDArray[np.float64], blocks: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The interval at 95 % of a latency, in the unit of `times`; see `paired_ratio`.

    It says what other processes of the same run could have found. Another day, or another board of
    the same kind, may differ by more: see `difference.SPEED_MARGIN`.

    Args:
        times: the median of each round, `(rounds,)`.
        blocks: how many parts of equal length the rounds fall into, at least 2.
        rng: draws the blocks.
    """
    found = paired_ratio(times, np.ones_like(times), blocks, rng)
    return found.low, found.high


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
