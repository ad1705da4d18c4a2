"""How sure a number is, and how near outputs are to a reference.

Importing this module imports numpy alone, which is all that a board has; the functions that need
scipy import it when they are called.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
