"""How right a variant is, and whether a difference in accuracy is more than chance."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# The two-sided 95 % point of the normal distribution, 1.96.
Z95 = NormalDist().inv_cdf(0.975)


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


def wilson(correct: int, total: int) -> Estimate:
    """Accuracy with its Wilson score interval at 95 %.

    Unlike the normal interval it stays inside 0..1 and holds near 100 %, where good classifiers
    are. Source: Wilson 1927, "Probable inference, the law of succession, and statistical
    inference", JASA 22.

    Args:
        correct: how many predictions were right.
        total: how many there were, at least 1.

    Returns:
        The accuracy as a fraction, 0 to 1.
    """
    share = correct / total
    centre = share + Z95**2 / (2 * total)
    spread = Z95 * sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2))
    scale = 1 + Z95**2 / total
    # At 0 % and 100 % one end equals the value exactly; rounding must not carry it past.
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return Estimate(share, min(share, max(0.0, low)), max(share, min(1.0, high)))


def agreement(classes: NDArray[np.intp], others: NDArray[np.intp]) -> float:
    """Share of inputs that two models put in the same class (top-1 agreement).

    Args:
        classes: one model's classes, `(N,)`.
        others: the other's, `(N,)`.
    """
    return float(np.mean(classes == others))


def mcnemar(lost: int, won: int) -> float:
    """Two-sided p-value of McNemar's exact test, for two models on the same inputs.

    Only inputs on which exactly one model is right carry information; if the models were equally
    good, each such input would be a fair coin. Source: McNemar 1947, "Note on the sampling error
    of the difference between correlated proportions", Psychometrika 12, in its binomial form.

    Args:
        lost: how many inputs only the baseline gets right.
        won: how many inputs only the candidate gets right.

    Returns:
        The probability of a split at least this uneven by chance, 0 to 1.
    """
    flips = lost + won
    ways = term = 1
    for k in range(min(lost, won)):
        term = term * (flips - k) // (k + 1)
        ways += term
    p_value: float = 2 * ways / 2**flips
    return min(1.0, p_value)
