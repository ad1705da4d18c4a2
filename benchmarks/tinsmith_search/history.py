"""How a search went: the best so far, over trials and time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from tinsmith_search.goals import Goals
from tinsmith_search.rows import Row
from tinsmith_search.winners import comparable, costs_of, front, is_feasible

HYPERVOLUME = "hypervolume"
_MARGIN = 0.1  # the worst value shall count a little, too


@dataclass(frozen=True)
class Step:
    """What was known after a trial.

    Attributes:
        number: of the trial.
        ended: how many trials had ended.
        seconds: since the first trial was started.
        value: the best so far; `null` before a trial is done and keeps to the limits.
    """

    number: int
    ended: int
    seconds: float
    value: float | None


@dataclass(frozen=True)
class History:
    """How the best got better.

    Attributes:
        measure: of one objective its metric; of several `hypervolume`: the part, 0 to 1, that the
            front so far dominates of the box that holds all done trials within the limits.
        steps: one for each trial that has ended, in that order.
    """

    measure: str
    steps: tuple[Step, ...]


def history(trials: Sequence[FrozenTrial], rows: Sequence[Row], goals: Goals) -> History:
    """Goes through a search again, trial by trial.

    Args:
        trials: Optuna's, which know when each began and ended.
        rows: of the same trials.
        goals: what was searched for.
    """
    by_number = {row.number: row for row in rows}
    ended = sorted(
        (trial.datetime_complete, trial.number)
        for trial in trials
        if trial.datetime_complete and trial.number in by_number
    )
    # Machines have clocks of their own: one may say that a trial ended before the first began.
    start = min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
    start = start or min((moment for moment, _ in ended), default=datetime.min)
    objectives = [one.metric for one in goals.objectives]
    done = [row for row in rows if row.state == "done" and is_feasible(row, goals)]
    counted = {row.number for row in comparable(done, objectives)}
    costs = np.array([costs_of(row, goals) for row in done if row.number in counted])
    steps, members, value = [], list[Row](), None
    for count, (moment, number) in enumerate(ended, 1):
        if number in counted:
            members = front([*members, by_number[number]], goals)
            value = _measure(members, goals, costs)
        seconds = (moment - start).total_seconds()
        steps.append(Step(number, count, max(0.0, seconds), value))
    measure = str(objectives[0]) if len(objectives) == 1 else HYPERVOLUME
    return History(measure, tuple(steps))


def _measure(members: Sequence[Row], goals: Goals, costs: NDArray[np.float64]) -> float:
    if len(goals.objectives) == 1:
        return members[0].values[str(goals.objectives[0].metric)]
    low, high = costs.min(axis=0), costs.max(axis=0)
    span = np.where(high > low, high - low, 1)
    points = (np.array([costs_of(row, goals) for row in members]) - low) / span
    box = 1 + _MARGIN
    return hypervolume(points, np.full(len(span), box)) / box ** len(span)


def hypervolume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The volume of what is worse than a point and better than the reference; less is better.

    By slices along the last axis. Source: While et al. 2006, "A faster algorithm for calculating
    hypervolume", IEEE Transactions on Evolutionary Computation 10, whose baseline it is.

    Args:
        points: `(N, objectives)`, none above the reference.
        reference: `(objectives,)`.
    """
    if points.shape[1] == 1:
        return float(reference[0] - points.min()) if len(points) else 0.0
    points = points[np.argsort(points[:, -1])]
    ends = np.append(points[1:, -1], reference[-1])
    return sum(
        float(end - point[-1]) * hypervolume(points[: index + 1, :-1], reference[:-1])
        for index, (point, end) in enumerate(zip(points, ends, strict=True))
        if end > point[-1]
    )
