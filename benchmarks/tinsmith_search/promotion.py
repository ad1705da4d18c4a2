"""Which trials go on from a short training: asynchronous successive halving of our own.

Optuna prunes no studies of several objectives. Here a trial that reaches a stage is ranked among
all that have reached it so far, and goes on if it is in the better part, 1 of `eta`. Nobody waits
for other trials, and nobody is called back. (Li et al., arXiv:1810.05934, has the halving; Deb et
al., NSGA-II, 2002, has the ranking by fronts.)

Trials of the same front are equally good. So only those that have gone on stand before a new one,
not those that were turned away. If these counted too, a long front would let hardly anyone go on.
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
    mine: Mapping[str, float],
    gone_on: Sequence[Mapping[str, float]],
    ended: Sequence[Mapping[str, float]],
    goals: Goals,
    eta: float,
) -> Promotion:
    """Ranks a trial among those that have reached the same stage.

    Args:
        mine: its metrics there.
        gone_on: those of the others that have gone on.
        ended: those of the others that ended there.
        goals: of the search.
        eta: one of so many goes on; the first always does.
    """
    fronts = ranks(np.array([costs(values, goals) for values in (mine, *gone_on, *ended)]))
    equal = np.count_nonzero(fronts[1 : 1 + len(gone_on)] == fronts[0])
    place, among = int(np.count_nonzero(fronts < fronts[0]) + equal) + 1, len(fronts)
    behind = place - math.ceil(among / eta)
    return Promotion(behind <= 0, place, among, max(0.0, behind / among))


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
