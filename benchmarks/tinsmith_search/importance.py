"""How much each parameter matters to each objective, by PED-ANOVA.

Importance is how much of what sets the best tenth of the trials apart is explained by a parameter
alone. Source: Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance
in Arbitrary Subspaces", IJCAI.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, create_trial

from tinsmith_search.goals import Goals, Objective
from tinsmith_search.rows import Row
from tinsmith_search.units import is_exact
from tinsmith_search.winners import comparable

MIN_TRIALS = 20
"""The best tenth of fewer would be one trial."""


@dataclass(frozen=True)
class Importance:
    """What matters to an objective.

    Attributes:
        objective: as it stands in the goals.
        trials: how many trials this was learned from.
        shares: of each parameter, 0 to 1, the largest first; together 1; empty where not known.
        reason: why it is not known; or `null`.
    """

    objective: str
    trials: int
    shares: dict[str, float]
    reason: str | None


def importances(
    trials: Sequence[FrozenTrial], rows: Sequence[Row], goals: Goals
) -> tuple[Importance, ...]:
    """The importance of all parameters to each objective.

    What is counted is known of every trial that got that far. What is measured is compared among
    the trials that are done, and a latency only on the machine that measured most of them.

    Args:
        trials: Optuna's, which know what each parameter was drawn from.
        rows: of the same trials.
        goals: what is searched for.
    """
    by_number = {trial.number: trial for trial in trials}
    return tuple(_importance(by_number, rows, one) for one in goals.objectives)


def _importance(
    by_number: dict[int, FrozenTrial], rows: Sequence[Row], objective: Objective
) -> Importance:
    name = str(objective.metric)
    known = [
        row
        for row in rows
        if math.isfinite(row.values.get(name, math.nan))
        and (row.state == "done" or is_exact(name))
        and row.number in by_number
    ]
    known = comparable(known, [objective.metric])
    reason = None
    if len(known) < MIN_TRIALS:
        reason = f"it takes {MIN_TRIALS} trials whose {name} is known, there are {len(known)}"
    elif len({row.values[name] for row in known}) == 1:
        reason = f"all {len(known)} trials have the same {name}"
    if reason:
        return Importance(str(objective), len(known), {}, reason)
    study = optuna.create_study(direction=objective.direction)
    for row in known:
        trial = by_number[row.number]
        parameters, drawn_from = trial.params, trial.distributions
        study.add_trial(
            create_trial(params=parameters, distributions=drawn_from, value=row.values[name])
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        shares = optuna.importance.get_param_importances(study)
    return Importance(str(objective), len(known), shares, None)
