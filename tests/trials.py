"""Trials of a search as data, without a training: drawn at random, and as a cheap study."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from tinsmith_report.statistics import wilson
from tinsmith_search.goals import Goals, parse_goals
from tinsmith_search.rows import Row, State

VALIDATION = 5_000
"""How many validation samples a demonstration's accuracy is of."""
GOALS = parse_goals(
    [
        "maximize accuracy",
        "minimize size_bytes",
        "minimize latency_us_p50 on pi4",
        "accuracy >= 95 %",
        "size_bytes <= 60 kB",
    ]
)


def done(number: int, right: int | None = None, samples: int = 1000, **more: Any) -> Row:
    """A trial that is done, with `right` of `samples` answers right."""
    values: dict[str, float] = dict(more.pop("values", {}))
    intervals = dict(more.pop("intervals", {}))
    if right is not None:
        values["accuracy"] = right / samples
        intervals["accuracy"] = wilson(right, samples)
    more = {"parameters": {"width": number}, "worker": "here:1", **more}
    return Row(number, "done", "measured", values=values, intervals=intervals, **more)


def demonstrate(trials: int, goals: Goals = GOALS, seed: int = 0) -> tuple[optuna.Study, list[Row]]:
    """A study of a cheap function that behaves as networks do: wider is better, larger, slower."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="digits",
        directions=[one.direction for one in goals.objectives],
        sampler=optuna.samplers.RandomSampler(seed=seed),
    )
    rng, rows = np.random.default_rng(seed), []
    for _ in range(trials):
        trial = study.ask()
        row = _row(trial, rng)
        rows.append(row)
        if row.state == "done":
            study.tell(trial, [row.values[str(one.metric)] for one in goals.objectives])
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study, rows


def _row(trial: optuna.Trial, rng: np.random.Generator) -> Row:
    width = trial.suggest_int("width", 4, 64)
    depth = trial.suggest_int("depth", 1, 4)
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    recipe = trial.suggest_categorical("recipe", ["ptq", "calibrated", "qat"])
    size = 2_000 + 9 * width * depth * 25
    skill = 0.995 - 0.25 / (width * depth) - 0.01 * abs(np.log10(rate / 3e-3))
    right = int(rng.binomial(VALIDATION, skill))
    latency = 50 + 3.1 * width * depth * rng.uniform(0.97, 1.03)
    fate = rng.random()
    row = done(
        trial.number,
        right,
        VALIDATION,
        values={"size_bytes": float(size), "latency_us_p50 on pi4": latency, "macs": 90.0 * size},
        intervals={"latency_us_p50 on pi4": (0.99 * latency, 1.01 * latency)},
        parameters={"width": width, "depth": depth, "learning_rate": rate, "recipe": recipe},
        seconds=float(rng.uniform(5, 90)),
        worker=f"build{trial.number % 2}:{100 + trial.number % 4}",
        measured_on="Raspberry Pi 4 Model B, Cortex-A72",
        bundle=f"trials/{trial.number}/model.tin",
    )
    if fate < 0.05:
        return _ended(row, "failed", "trained", "the training ran out of memory: 512 MB")
    if size > 40_000:
        return _ended(row, "infeasible", "checked", f"size_bytes {size:,} is above 40,000")
    if fate < 0.3:
        return _ended(row, "not promoted", "short", "12 of 20 were better after 2 epochs")
    return row


def _ended(row: Row, state: State, stage: str, reason: str) -> Row:
    values = {name: value for name, value in row.values.items() if "latency" not in name}
    intervals = {"accuracy": row.intervals["accuracy"]}
    return Row(row.number, state, stage, row.parameters, values, intervals, reason,
               row.seconds / 4, row.worker)  # fmt: skip


def answer(
    rows: Sequence[Row], samples: int = 2_000, seed: int = 1
) -> dict[int, NDArray[np.bool_]]:
    """Answers on a test set: hard samples are hard for every trial, as they are in life."""
    rng = np.random.default_rng(seed)
    hardness = rng.random(samples)
    return {
        row.number: np.clip(hardness + rng.normal(0, 0.01, samples), 0, 1) < row.values["accuracy"]
        for row in rows
    }
