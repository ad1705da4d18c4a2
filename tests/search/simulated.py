"""A search without a network to train: one worker's command, for tests that kill it.

    python simulated.py URL FOLDER TRIALS WORKERS EXECUTIONS

Each execution leaves a line in a file of the folder: the trial's number, and a mark of its own.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from tinsmith_search.leases import Patience
from tinsmith_search.rows import Row
from tinsmith_search.storage import close_storage, open_storage
from tinsmith_search.workers import Objective, Outcome, Search, run_workers

PATIENCE = Patience(beat_seconds=0.3, grace_seconds=2.5, attempts=50)


def build(executions: Path, seconds: float) -> tuple[Objective, optuna.samplers.BaseSampler]:
    """Gives an objective that takes so long, and learns nothing."""

    def objective(trial: optuna.Trial) -> Outcome:
        width = trial.suggest_float("width", 0, 1)
        mark = random.SystemRandom().random()
        with executions.open("a") as file:
            file.write(f"{trial.number} {mark!r}\n")
        time.sleep(seconds * random.uniform(0.5, 1.5))
        depth = trial.suggest_int("depth", 1, 1000)
        values = {"accuracy": mark, "size_bytes": float(depth)}
        return Row(trial.number, "done", "", {"width": width, "depth": depth}, values), [
            mark,
            depth,
        ]

    return objective, optuna.samplers.RandomSampler()


def build_deadly(folder: Path) -> tuple[Objective, optuna.samplers.BaseSampler]:
    """Gives an objective that kills its worker in trial 1, always, and in trial 2, once.

    Trial 3 raises an error, trial 4 takes memory without an end.
    """
    objective, sampler = build(folder / "executions", 0.02)

    def deadly(trial: optuna.Trial) -> Outcome:
        once = folder / "killed once"
        if trial.number == 1 or (trial.number == 2 and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.number == 3:
            raise ValueError("a network that\ncannot be built")
        if trial.number == 4:
            hoard = b"x" * 600_000_000
            time.sleep(30)
            del hoard
        return objective(trial)

    return deadly, sampler


@contextmanager
def study_of(url: str | None, folder: Path) -> Iterator[optuna.Study]:
    """Opens the study, or makes it."""
    storage = open_storage(url, folder)
    try:
        yield optuna.create_study(
            storage=storage,
            study_name="simulated",
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
    finally:
        close_storage(storage)


if __name__ == "__main__":
    url, folder, trials, workers = sys.argv[1] or None, Path(sys.argv[2]), *map(int, sys.argv[3:5])
    with study_of(url, folder):
        pass
    arguments = (folder / sys.argv[5], 0.25)
    search = Search(url, folder, "simulated", trials, build, arguments, PATIENCE, 20)
    try:
        run_workers(search, workers)
    except KeyboardInterrupt:
        sys.exit(130)
