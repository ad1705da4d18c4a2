"""How sure it is what was measured of a trial: intervals, limits, and paired tests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Estimate
from tinsmith_bench.stats.significance import wilson_estimate
from tinsmith_export.results import Outcome
from tinsmith_report.statistics import holm, mcnemar_p
from tinsmith_search.goals import Limit, Metric
from tinsmith_search.rows import Row
from tinsmith_search.units import is_exact

Answers = Mapping[int, NDArray[np.bool_]]
"""By a trial's number, whether each answer on the test set is right, `bool (samples,)`."""


@dataclass(frozen=True)
class Kept:
    """What a trial's measurements say of one limit.

    Attributes:
        limit: as it stands in the goals.
        outcome: `pass` where the whole interval is within the limit, `fail` where it is outside,
            else `undecided`.
        value: what was measured: accuracy on the test set where that was looked at.
        low: the lower end of its 95 % interval; `null` where none is known.
        high: the upper end.
    """

    limit: str
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paired:
    """Two trials' answers on the same test set, compared.

    Attributes:
        one: the number of a trial.
        other: the number of another.
        lost: how many answers only `one` has right.
        won: how many answers only `other` has right.
        p: of McNemar's exact test, after Holm's correction for all pairs that were compared.
    """

    one: int
    other: int
    lost: int
    won: int
    p: float


def judge(row: Row, limit: Limit, answers: Answers) -> Kept:
    """Holds a trial to a limit by its interval; see `Kept`."""
    found = estimate(row, limit.metric, answers)
    ends = [limit.violation(end) <= 0 for end in (found.low, found.high)]
    outcome = Outcome.UNDECIDED
    if all(ends):
        outcome = Outcome.PASS
    elif not any(ends) and not math.isnan(found.value):
        outcome = Outcome.FAIL
    return Kept(str(limit), outcome, *map(_finite, (found.value, found.low, found.high)))


def estimate(row: Row, metric: Metric, answers: Answers) -> Estimate:
    """A trial's value with its 95 % interval, accuracy on the test set where that was looked at.

    What is counted is its own interval; what is measured without one may lie anywhere.
    """
    name = str(metric)
    if name == "accuracy" and row.number in answers:
        right = answers[row.number]
        return wilson_estimate(int(right.sum()), len(right))
    value = row.values.get(name, math.nan)
    if is_exact(name):
        return Estimate(value, value, value)
    return Estimate(value, *row.intervals.get(name, (-math.inf, math.inf)))


def compare(members: Sequence[Row], answers: Answers) -> tuple[Paired, ...]:
    """McNemar's exact test of every two of the trials whose answers on the test set are known.

    With so many tests, some p-value would be small by chance: `holm` corrects for their number.
    """
    known = [row.number for row in members if row.number in answers]
    pairs = list(combinations(known, 2))
    counts = [
        (int((answers[one] & ~answers[other]).sum()), int((answers[other] & ~answers[one]).sum()))
        for one, other in pairs
    ]
    adjusted = holm([mcnemar_p(*count) for count in counts])
    return tuple(
        Paired(*pair, *count, p) for pair, count, p in zip(pairs, counts, adjusted, strict=True)
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
