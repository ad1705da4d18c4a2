"""How sure a number is, and how near outputs are to a reference.

Importing this module imports numpy alone, which is all that a board has; the functions that need
scipy import it when they are called.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the normal distribution: a two-sided interval of 95 % ends here, a one-sided test at 95 % here.
_TWO_SIDED, _ONE_SIDED = 1.959964, 1.644854
# Of a binomial distribution, what is left out of a sum, and added to it in full.
_TAIL = 1e-9


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The Wilson score interval of a proportion, at 95 %.

    Unlike the normal interval it stays inside 0..1 and holds near 100 %, where good classifiers
    are. Source: Wilson 1927, "Probable inference, the law of succession, and statistical
    inference", JASA 22.

    Args:
        successes: how many of `count` there are.
        count: at least 1.

    Returns:
        The lower and the upper end, as fractions.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_p(lost: int, won: int) -> float:
    """Two-sided p-value of McNemar's exact test, for two models on the same samples.

    Only samples on which exactly one model is right carry information; if the models were equally
    good, each such sample would be a fair coin. Source: McNemar 1947, "Note on the sampling error
    of the difference between correlated proportions", Psychometrika 12, in its binomial form.

    Args:
        lost: how many samples only the reference gets right.
        won: how many samples only the other model gets right.

    Returns:
        The probability of a split at least this uneven by chance, 0 to 1.
    """
    from scipy.stats import binomtest

    # The smaller side, so that the two directions agree to the last digit.
    return float(binomtest(min(lost, won), lost + won).pvalue) if lost + won else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects the p-values of several tests, so that one is small by chance as rarely as for one.

    The smallest of n is multiplied by n, the next by n - 1, and so on; none gets smaller than the
    one before it, or larger than 1. Source: Holm 1979, "A simple sequentially rejective multiple
    test procedure", Scandinavian Journal of Statistics 6.

    Returns:
        The corrected p-values, in the order of `p_values`.
    """
    count, largest = len(p_values), 0.0
    adjusted = [0.0] * count
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def paired_loss_score(lost: Any, won: Any, count: float, limit: float) -> Any:
    """How far a loss on paired samples lies above a limit, in standard errors at that limit.

    The loss is the part of samples that only the reference gets right, less the part that only the
    other model gets right. Source: Tango 1998, "Equivalence test and confidence interval for the
    difference in proportions for the paired-sample design", Statistics in Medicine 17.

    Args:
        lost: how many samples only the reference gets right; a number or an array of them.
        won: how many samples only the other model gets right, likewise.
        count: of all samples, more than 0.
        limit: the loss, -1 to 1.

    Returns:
        A score for each; negative where the loss is below the limit.
    """
    # The likeliest share of samples won, where the loss is the limit: the root of a quadratic.
    middle = (2 * count - lost + won) * limit - lost - won
    root = np.sqrt(np.maximum(0, middle**2 + 8 * count * won * limit * (1 - limit)))
    variance = count * ((root - middle) / (2 * count) + limit * (1 - limit))
    above = lost - won - count * limit
    # Only a limit of 1 or -1, or no sample that differs at 0, leaves no variance.
    sure = np.where(np.abs(above) < 1e-9, 0.0, np.copysign(np.inf, above))
    positive = variance > 1e-12
    return np.where(positive, above / np.sqrt(np.where(positive, variance, 1)), sure)


def paired_loss_upper(lost: int, won: int, count: int) -> float:
    """The upper end of the 95 % score interval of a loss on paired samples, as a fraction.

    It is the largest loss whose `paired_loss_score` is no further below zero than 1.96. With no
    sample lost or won it is Wilson's upper end of 0. Source: Tango 1998, see there.
    """
    low, high = (lost - won) / count, 1.0
    for _ in range(60):  # halving: the score falls as the limit rises
        middle = (low + high) / 2
        inside = float(paired_loss_score(lost, won, count, middle)) > -_TWO_SIDED
        low, high = (middle, high) if inside else (low, middle)
    return high


def paired_loss_p(lost: int, won: int, count: int, limit: float) -> float:
    """One-sided p-value of an exact test: do paired answers show a loss of more than a limit?

    The loss is the part of samples that only the reference gets right, less the part that only the
    other model does. At the limit 0 this is McNemar's exact test, one-sided. Elsewhere how often
    the models differ is not known either: the p-value is the largest over all that it could be, of
    the probability of a Tango score that is at least as large. Source: Sidik 2003, "Exact
    unconditional tests for testing non-inferiority in matched-pairs design", Statistics in Medicine
    22; for the score, see `paired_loss_score`.

    Args:
        lost: how many samples only the reference gets right.
        won: how many samples only the other model gets right.
        count: of all samples, at least 1.
        limit: of the loss, -1 to 1.

    Returns:
        The probability of so large a loss, were the true one the limit; at most 1.
    """
    from scipy.stats import binom

    if limit == 0:
        return float(binom.sf(lost - 1, lost + won, 0.5))
    differing = np.arange(count + 1)
    fewest = _fewest_lost(differing, count, limit, paired_loss_score(lost, won, count, limit))
    # How often the models differ in truth: as rarely as the limit allows, or up to always.
    shares = np.unique(np.concatenate([np.geomspace(1e-3, 1, 60), np.linspace(0, 1, 60)]))
    largest = 0.0
    for share in abs(limit) + (1 - abs(limit)) * shares:
        low, high = (int(end) for end in binom.interval(1 - _TAIL, count, share))
        there = slice(low, high + 1)
        tails = binom.sf(fewest[there] - 1, differing[there], (share + limit) / (2 * share))
        chance = float(binom.pmf(differing[there], count, share) @ tails) + _TAIL
        largest = max(largest, chance)
    return min(1.0, largest)


def _fewest_lost(
    differing: NDArray[np.int64], count: int, limit: float, score: float
) -> NDArray[np.int64]:
    """How many of the samples that differ must be lost for at least that score, one a number.

    Where even all of them are not enough, it is one more than there are.
    """
    low, high = np.zeros_like(differing), differing + 1
    while (open_ := low < high).any():
        middle = (low + high) // 2
        enough = paired_loss_score(middle, differing - middle, count, limit) >= score - 1e-9
        low = np.where(open_ & ~enough, middle + 1, low)
        high = np.where(open_ & enough, middle, high)
    return low


def count_to_decide(count: int, score: float) -> int | None:
    """About how many samples decide on which side of a limit a loss lies.

    If more samples showed the same shares, the score would grow with the square root of their
    number: to 1.64 above the limit, or to 1.96 below it, which are the ends of a one-sided test and
    of a two-sided interval.

    Args:
        count: of the samples seen.
        score: of the loss at the limit, in standard errors; positive above.

    Returns:
        More than `count`, to two digits; `None` where the loss is the limit, or no number would do.
    """
    if not score or not math.isfinite(score):
        return None
    needed = count * ((_ONE_SIDED if score > 0 else _TWO_SIDED) / score) ** 2
    needed = max(needed, count + 1)
    digit: int = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return math.ceil(needed / digit) * digit


def changed_score(changed: int, count: int, limit: float) -> float:
    """How far a share lies above a limit from 0 to 1, in standard errors at that limit."""
    spread = math.sqrt(count * limit * (1 - limit))
    return (changed - count * limit) / spread if spread else 0.0


def changed_p(changed: int, count: int, limit: float) -> float:
    """One-sided p-value of the exact binomial test that a share is above a limit from 0 to 1."""
    from scipy.stats import binomtest

    return float(binomtest(changed, count, limit, alternative="greater").pvalue)


def changed_upper(changed: int, count: int) -> float:
    """The upper end of the exact 95 % interval of a share.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the
    case of the binomial", Biometrika 26.
    """
    from scipy.stats import binomtest

    return float(binomtest(changed, count).proportion_ci(method="exact").high)


def sqnr_db(reference: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Signal-to-quantization-noise ratio in dB: the power of `reference` over the difference's.

    `None` where there is no difference.
    """
    reference = np.asarray(reference, np.float64)
    noise = float(np.square(reference - other).sum())
    return decibels(float(np.square(reference).sum()), noise)


def decibels(signal: float, noise: float) -> float | None:
    """The ratio of two powers in dB; `None` where one is zero."""
    return 10 * math.log10(signal / noise) if noise and signal else None


def cosine(reference: NDArray[Any], other: NDArray[Any]) -> float | None:
    """The cosine of the angle between all outputs as one vector; `None` where one is zero."""
    a, b = (np.asarray(v, np.float64).ravel() for v in (reference, other))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else None


def mean_cosine(reference: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The mean over samples of the cosine between their outputs, `(N, outputs)` each.

    A sample that is 0 on both sides is the same on both.
    """
    lengths = np.linalg.norm(other, axis=1) * np.linalg.norm(reference, axis=1)
    dots = np.sum(other * reference, axis=1)
    both_zero = ~other.any(axis=1) & ~reference.any(axis=1)
    cosines = np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1), both_zero)
    return float(np.mean(cosines))
