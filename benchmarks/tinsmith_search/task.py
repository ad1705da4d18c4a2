"""What a worker has to know: it can be pickled, for a process of its own."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith_data import Dataset, load_dataset
from tinsmith_runtime.errors import printable
from tinsmith_search.boards import Boards
from tinsmith_search.cache import Cache
from tinsmith_search.errors import SearchError
from tinsmith_search.measuring import Measure
from tinsmith_search.space import Space
from tinsmith_search.stages import Judged, divide
from tinsmith_search.trial import Trials

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Task:
    """A search, as each worker sees it.

    Attributes:
        space: what is chosen from.
        data: as `--data`.
        folder: the run folder.
        seed: of the data's division and of everything random in a trial.
        boards: with the hardware of each tag.
        sampler_seed: of what Optuna chooses; `None` where several workers choose.
    """

    space: Space
    data: str
    folder: Path
    seed: int
    boards: Boards = field(default_factory=Boards)
    sampler_seed: int | None = None

    def dataset(self, size: int | None) -> Dataset:
        """Loads the data, with the test set.

        Raises:
            DatasetError: as `load_dataset`.
            SearchError: a search cannot learn from such data.
        """
        found = load_dataset(self.data, seed=self.seed, size=size)
        if found.has_boxes:
            raise SearchError(f"{self.data}: expected images with labels, got boxes")
        return found

    def judged(self, size: int | None) -> Judged:
        """Loads the data and divides the training images; the test set is left behind."""
        return divide(self.dataset(size), self.space.held_back, self.seed)

    def trials(self) -> Trials:
        """Gives what tries configurations."""
        cache = Cache(self.folder / "cache")
        measure = Measure(self.space.goals.measured, self.boards, cache, tell)
        return Trials(self.space, cache, self.judged, measure)


def tell(line: str) -> None:
    """Says something on standard error, from whichever process."""
    print(f"tinsmith search: {printable(line)}", file=sys.stderr, flush=True)


def begin(task: Task) -> tuple[Trials, "optuna.samplers.BaseSampler"]:
    """Gives what a worker works with: how to try a configuration, and who chooses them.

    TPE alone learns from trials that end early: it ranks those that break a constraint by how far,
    behind all others. NSGA-II forgets them. Parameters that only some trials have, such as the
    width of a fifth block, get models of their own by `group`.
    """
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=task.sampler_seed, multivariate=True, group=True, constant_liar=True
        )
    return task.trials(), sampler
