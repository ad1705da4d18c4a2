"""Which trials go on from a short training: asynchronous successive halving of our own.

Optuna prunes no studies of several objectives. Here a trial that reaches a stage is ranked among
all that have reached it so far, and goes on if it is in the better part, 1 of `eta`: by the front
it lies on, and within a front by how far its neighbours are. Nobody waits for other trials. (Li et
al., arXiv:1810.05934, has the halving; Deb et al., NSGA-II, 2002, has the ranking.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinsmith_search.goals import MEASURED, Goals

Costs = NDArray[np.float64]


@dataclass(frozen=True)
class Promotion:
    """Whether a trial goes on.

    Attributes:
        promoted: whether it does.
        place: among those that reached the stage, from 1.
        among: how many these are.
        shortfall: how far it is from the last place that goes on, as a part of all places: 0 to 1.
    """

    promoted: bool
    place: int
    among: int
    shortfall: float


def promote(
    mine: Mapping[str, float], others: Sequence[Mapping[str, float]], goals: Goals, eta: float
) -> Promotion:
    """Ranks a trial among those that have reached the same stage.

    Args:
        mine: its metrics there.
        others: those of the others.
        goals: of the search.
        eta: one of so many goes on; the first always does.
    """
    ranked = order(np.array([costs(values, goals) for values in (*others, mine)]))
    place, among = int(np.flatnonzero(ranked == len(others))[0]), len(others) + 1
    allowed = max(1, math.ceil(among / eta))
    return Promotion(
        place < allowed, place + 1, among, max(0.0, (place + 1 - allowed) / max(1, among))
    )


def costs(values: Mapping[str, float], goals: Goals) -> list[float]:
    """What is to be small, of what a stage knows: the objectives, and how far limits are missed.

    A latency is not known before it is measured: multiply-accumulates stand for it.
    """
    found = []
    for one in goals.objectives:
        name = "macs" if one.metric.name in MEASURED else one.metric.name
        value = values.get(str(one.metric), values.get(name, math.inf))
        found.append(-value if one.direction == "maximize" else value)
    missed = goals.violations(values)
    return [*found, sum(max(0.0, over) for over in missed.values())]


def order(table: Costs) -> NDArray[np.int64]:
    """Sorts rows, the best first: by front, then by crowding distance, the largest first.

    Args:
        table: `(N, K)`, all to be small.

    Returns:
        `(N,)` indices.
    """
    fronts = ranks(table)
    distances = np.zeros(len(table))
    for number in np.unique(fronts):
        distances[fronts == number] = crowding(table[fronts == number])
    return np.lexsort((np.arange(len(table)), -distances, fronts))


def ranks(table: Costs) -> NDArray[np.int64]:
    """The front that each row lies on: 0 where no row dominates it, 1 behind these, and so on."""
    no_worse = np.asarray((table[:, None] <= table[None]).all(axis=2))
    dominates = no_worse & ~no_worse.T
    found = np.full(len(table), -1)
    number = 0
    while len(left := np.flatnonzero(found < 0)):
        found[left[~dominates[np.ix_(left, left)].any(axis=0)]] = number
        number += 1
    return found


def crowding(front: Costs) -> NDArray[np.float64]:
    """How far the neighbours of each row of a front are; infinite at its ends."""
    found = np.zeros(len(front))
    for column in front.T:
        places = np.argsort(column, kind="stable")
        values = column[places]
        spread = values[-1] - values[0]
        if not np.isfinite(spread) or spread <= 0:
            continue
        found[places[[0, -1]]] = np.inf
        found[places[1:-1]] += (values[2:] - values[:-2]) / spread
    return found
