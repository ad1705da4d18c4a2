"""Which trials are best, and which one of them to take.

A trial dominates another if it is at least as good in every objective and better in one. The front
is the trials that none dominates. Latencies of different boards or CPUs are never compared:
there, neither dominates the other.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith_bench.stats.difference import SIGNIFICANT, SPEED_MARGIN, are_apart
from tinsmith_export.results import Outcome
from tinsmith_search.evidence import Answers, Kept, compare, estimate, judge
from tinsmith_search.goals import Goals, Metric
from tinsmith_search.rows import Row
from tinsmith_search.units import interval_text, is_exact, is_timed, value_text


@dataclass(frozen=True)
class Verdict:
    """Which trial to take.

    Attributes:
        row: the winner; None where no trial keeps to the limits.
        separated: whether it is better in the first objective than every other one that keeps to
            the limits; else it is the smallest of those that are not told apart.
        equals: the numbers of those that are not told apart from the best, the winner's too.
        why: the same in words.
    """

    row: Row | None
    separated: bool
    equals: tuple[int, ...]
    why: str


def front(rows: Sequence[Row], goals: Goals) -> list[Row]:
    """The trials that are done, keep to the limits and are not dominated, by their numbers.

    A configuration that ran twice counts once, as it came out the first time: the better of two
    runs would be the luckier one.
    """
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.number):
        if row.state == "done":
            first.setdefault(json.dumps(row.parameters, sort_keys=True), row)
    kept = [row for row in first.values() if is_feasible(row, goals)]
    timed = any(is_timed(str(objective.metric)) for objective in goals.objectives)
    found = []
    for machine in {row.measured_on if timed else None for row in kept}:
        alike = [row for row in kept if not timed or row.measured_on == machine]
        costs = np.array([costs_of(row, goals) for row in alike])
        for row, cost in zip(alike, costs, strict=True):
            if not np.any(np.all(costs <= cost, axis=1) & np.any(costs < cost, axis=1)):
                found.append(row)
    return sorted(found, key=lambda row: row.number)


def comparable(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[Row]:
    """All trials, or if a metric is a latency, those that the busiest board or CPU has measured."""
    counts = Counter(row.measured_on for row in rows)
    if not counts or not any(is_timed(str(metric)) for metric in metrics):
        return list(rows)
    ((machine, _),) = counts.most_common(1)
    return [row for row in rows if row.measured_on == machine]


def is_feasible(row: Row, goals: Goals) -> bool:
    """Whether a trial has all that the goals name, and its values keep to the limits."""
    known = all(math.isfinite(row.values.get(str(one), math.nan)) for one in goals.metrics)
    return known and all(over <= 0 for over in goals.violations(row.values).values())


def costs_of(row: Row, goals: Goals) -> list[float]:
    """The values of the objectives, all to be minimized."""
    signs = {"minimize": 1, "maximize": -1}
    return [signs[one.direction] * row.values[str(one.metric)] for one in goals.objectives]


def winner(members: Sequence[Row], goals: Goals, answers: Answers) -> Verdict:
    """Names the trial to take, of the front's members.

    Those that surely keep to the limits come first; where there are none, those whose values do.
    Of them the one that is better than all others in the first objective wins: by a paired test of
    the answers, by intervals, or because what is counted differs. Where none is, the smallest of
    those that no other one beats does.

    Args:
        members: the front.
        goals: what is searched for.
        answers: of the members on the test set; none where it was not looked at.
    """
    done = [row for row in members if row.state == "done"]  # a test may have refused one
    if not done:
        why = "No trial is done and keeps to every limit."
        if members:
            why = "No trial of the front passed its test at the end."
        return Verdict(None, False, (), why)
    members = done
    surely = {row.number: [judge(row, one, answers) for one in goals.limits] for row in members}
    rows = [row for row in members if all(k.outcome is Outcome.PASS for k in surely[row.number])]
    certain = bool(rows)
    rows = rows or [row for row in members if _values_keep(row, goals, answers)]
    if not rows:
        return Verdict(None, False, (), _none_keeps(goals))
    best = _unbeaten(rows, goals, answers)
    chosen = min(best, key=lambda row: _preference(row, goals))
    why = _why(chosen, best, rows, goals, answers)
    if not certain:
        why += " Whether it keeps to the limits is undecided: " + _undecided(surely[chosen.number])
    elif doubtful := _doubtful(members, rows, goals, answers):
        numbers = ", ".join(str(row.number) for row in doubtful)
        why += f" Not chosen, since it is not sure that they keep to the limits: {numbers}."
    return Verdict(chosen, len(best) == 1, tuple(row.number for row in best), why)


def _unbeaten(rows: Sequence[Row], goals: Goals, answers: Answers) -> list[Row]:
    """The trials than which no other one is better in the first objective, chance aside."""
    metric = str(goals.objectives[0].metric)
    found = {row.number: estimate(row, goals.objectives[0].metric, answers) for row in rows}
    chance = {frozenset((pair.one, pair.other)): pair.p for pair in compare(rows, answers)}
    sign = 1 if goals.objectives[0].direction == "maximize" else -1

    def beats(one: Row, other: Row) -> bool:
        mine, its = found[one.number], found[other.number]
        if sign * mine.value <= sign * its.value:
            return False
        if is_exact(metric):
            return True
        if metric == "accuracy" and (pair := frozenset((one.number, other.number))) in chance:
            return chance[pair] < SIGNIFICANT
        if is_timed(metric):
            return one.measured_on == other.measured_on and are_apart(mine, its, SPEED_MARGIN)
        return are_apart(mine, its, 0)

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def _preference(row: Row, goals: Goals) -> tuple[float, ...]:
    """Of equal ones the smallest, then the better by the objectives, then the earlier."""
    return (row.values.get("size_bytes", math.inf), *costs_of(row, goals), row.number)


def _why(
    chosen: Row, best: Sequence[Row], rows: Sequence[Row], goals: Goals, answers: Answers
) -> str:
    who = f"Trial {chosen.number}"
    if len(rows) == 1:
        kept = " that keeps to the limits" if goals.limits else ""
        return f"{who} is the only one of the front{kept}."
    metric = str(goals.objectives[0].metric)
    if len(best) == 1:
        how = "their 95 % intervals lie apart"
        if is_exact(metric):
            how = "it is counted, not measured"
        elif metric == "accuracy" and chosen.number in answers:
            how = (
                f"McNemar's exact test on {len(answers[chosen.number]):,} answers, p below "
                f"{SIGNIFICANT:g} after Holm's correction"
            )
        others = len(rows) - 1
        than = f"each of the {others} others" if others > 1 else "the other one"
        kept = " that keeps to the limits" if goals.limits else ""
        return f"{who} is better in {metric} than {than} of the front{kept}: {how}."
    what = "smallest" if "size_bytes" in chosen.values else "best by its values"
    numbers = ", ".join(str(row.number) for row in best)
    text = f"{who} is the {what} of {len(best)} that cannot be told apart by {metric}: {numbers}."
    if is_timed(metric) and len({row.measured_on for row in best}) > 1:
        text += " Latencies of different boards or CPUs are not compared."
    return text


def _values_keep(row: Row, goals: Goals, answers: Answers) -> bool:
    values = [estimate(row, one.metric, answers).value for one in goals.limits]
    return all(one.violation(value) <= 0 for one, value in zip(goals.limits, values, strict=True))


def _none_keeps(goals: Goals) -> str:
    limits = ", ".join(map(str, goals.limits))
    return f"No trial of the front kept to {limits} when it was tested at the end."


def _undecided(kept: Sequence[Kept]) -> str:
    """The limits that are undecided, with what was measured."""
    texts = []
    for one in kept:
        if one.outcome is Outcome.UNDECIDED:
            metric = one.limit.rsplit(" ", 2)[0]
            between = interval_text(metric, one.low, one.high) or "no interval is known"
            texts.append(
                f"{one.limit}, where {value_text(metric, one.value)} was found ({between})"
            )
    return "; ".join(texts) + "."


def _doubtful(
    members: Sequence[Row], rows: Sequence[Row], goals: Goals, answers: Answers
) -> list[Row]:
    return [row for row in members if row not in rows and _values_keep(row, goals, answers)]
