"""Who tries which configuration: each is one trial of Optuna, and ends exactly once.

A worker takes a trial and leases it: it writes itself as the `owner` and gives a sign of life, a
*beat*, again and again. Where the beats stop, another worker puts the same trial back in the
queue. No copy of it is made, as Optuna's own callback for stale trials would; so there is nothing
that could end twice, or get lost between two copies. The order of the writes is what counts:

- Taken twice? The storage lets one of two take a waiting trial.
- Taken, and the answer was lost? Then it has no owner and no beat, and is put back.
- Made, and the answer was lost? The same. The trials from number `trials` on wait for a search
  that wants more; so exactly as many are tried as were asked for, over all machines.
- Put back while its owner lives, as after a suspended laptop? What the first owner brings is
  dropped, as it is not the owner any more.
- Ended, and the answer was lost? The second attempt to end it is refused by the storage.

A trial that fails for a reason that is not its own, such as boards that are all lost, is *set
aside*: it stays `RUNNING` in the storage, as nothing may be changed of a trial that has ended, and
nobody touches it until the next command begins. That puts it back in the queue.

Optuna's heartbeat finds no trial that never beat, compares clocks, counts the time in which the
database was away, and is missing behind gRPC and journals. Here each watcher looks whether a beat
*changes*, on its own clock, which stands still while the storage is away.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from tinsmith_search.owners import OWNER, Owner, owner_of, this_process
from tinsmith_search.rows import Row
from tinsmith_search.storage import ROW, Outages, StorageGoneError, close_storage, newest_row

if TYPE_CHECKING:
    import optuna

BEAT = "tinsmith:beat:"
_HURRY_SECONDS = 3.0


@dataclass(frozen=True)
class Patience:
    """When a worker is given up.

    Attributes:
        beat_seconds: How often a worker gives a sign of life.
        grace_seconds: After how long without one it counts as dead.
        attempts: How many workers a configuration may kill before it has failed.
    """

    beat_seconds: float = 30.0
    grace_seconds: float = 120.0
    attempts: int = 3


class Leases:
    """The trials of a study, for one worker or for one who watches workers.

    Args:
        study: The study.
        storage: Where it lies.
        trials: How many configurations are to be tried, over all workers and machines.
        patience: When a worker is given up.
    """

    def __init__(
        self,
        study: "optuna.Study",
        storage: "optuna.storages.BaseStorage",
        trials: int,
        patience: Patience,
    ) -> None:
        self.study = study
        self.trials = trials
        self.patience = patience
        self._storage = storage
        self._outages: Outages = storage.outages  # type: ignore[attr-defined]
        self._heard: dict[int, tuple[object, float]] = {}
        self._owner: Owner | None = None
        self._taken: int | None = None

    def take(self) -> "optuna.Trial | None":
        """Gives the next trial to this process. Waits where others are at the last ones.

        Returns:
            The trial; None when all have ended.
        """
        from optuna.trial import TrialState

        longest = self.patience.beat_seconds / 2
        pause = min(0.2, longest)
        while True:
            trials = self.study.get_trials(deepcopy=False)[: self.trials]
            if len(trials) == self.trials and all(map(_is_over, trials)):
                return None
            put_back = self.put_back_dead(trials)
            waiting = any(trial.state is TrialState.WAITING for trial in trials)
            if waiting or put_back or len(trials) < self.trials:
                taken = self._ask()
                if taken is not None:
                    return taken
            else:
                time.sleep(pause)  # Many may wait here for the last few: they ask less and less.
                pause = min(1.5 * pause, longest)

    def put_back_dead(self, trials: "Sequence[optuna.trial.FrozenTrial]") -> int:
        """Puts back the trials whose worker has ended, or has not been heard for too long.

        Returns:
            How many.
        """
        from optuna.trial import TrialState

        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        return sum(self._put_back_if_dead(one) for one in running if not _is_over(one))

    def put_back_set_aside(self) -> None:
        """Puts back the trials that were set aside: once, when a command begins."""
        for trial in self.study.get_trials(deepcopy=False)[: self.trials]:
            owner = owner_of(trial)
            if owner and _is_over(trial) and not trial.state.is_finished():
                row = replace(newest_row(trial), state="running", reason=None)
                self._storage.set_trial_user_attr(trial._trial_id, ROW, row.to_json())
                self._release(trial._trial_id, replace(owner, is_set_aside=False))

    def _put_back_if_dead(self, trial: "optuna.trial.FrozenTrial") -> bool:
        owner, now = owner_of(trial), self._outages.clock()
        lease = owner and owner.lease
        sign = (lease, trial.system_attrs.get(f"{BEAT}{lease}"))
        heard, since = self._heard.get(trial._trial_id, (None, now))
        if heard != sign:
            self._heard[trial._trial_id] = (sign, now)
            since = now
        if owner and owner.lease and owner.has_ended():
            return self.put_back(trial, f"its worker {owner.worker} ended")
        if now - since <= self.patience.grace_seconds:
            return False
        who = owner.worker if owner else "that took it"
        return self.put_back(trial, f"its worker {who} was silent for {now - since:.0f} s")

    def put_back(
        self, trial: "optuna.trial.FrozenTrial", reason: str, *, attempts: int | None = None
    ) -> bool:
        """Puts a trial of a dead worker back; one that has killed too many has failed.

        Args:
            trial: The trial, as it was when its worker was found dead.
            reason: What happened to its worker.
            attempts: How many workers it may kill.

        Returns:
            Whether it waits now.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        number, owner = trial._trial_id, owner_of(trial)
        with suppress(UpdateFinishedTrialError):
            now = self._storage.get_trial(number)
            if now.state is not TrialState.RUNNING or owner_of(now) != owner:
                return False
            if owner and owner.attempt >= (attempts or self.patience.attempts):
                tried = "" if owner.attempt == 1 else f"{owner.attempt} times; the last time "
                row = replace(newest_row(now), state="failed", reason=f"{tried}{reason}")
                self._storage.set_trial_user_attr(number, ROW, row.to_json())
                self._storage.set_trial_state_values(number, TrialState.FAIL)
                return False
            self._release(number, owner)
            return True
        return False

    def release(self) -> None:
        """Puts back the trial of this process, which stops: that is no attempt."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        self.hurry()
        if self._owner is None or self._taken is None:
            return
        now = self._storage.get_trial(self._taken)
        lease = getattr(owner_of(now), "lease", None)
        if now.state is TrialState.RUNNING and lease in (None, self._owner.lease):
            with suppress(UpdateFinishedTrialError):
                self._release(self._taken, replace(self._owner, attempt=self._owner.attempt - 1))

    def close(self) -> None:
        """Closes the storage."""
        close_storage(self._storage)

    def hurry(self) -> None:
        """Waits no longer for a storage that is away: somebody wants to stop."""
        self._outages.patience_seconds = _HURRY_SECONDS

    def _release(self, number: int, owner: Owner | None) -> None:
        """Takes the owner's name away first: who looks in between sees no owner that is gone."""
        from optuna.trial import TrialState

        if owner:
            self._storage.set_trial_system_attr(number, OWNER, asdict(replace(owner, lease=None)))
        self._storage.set_trial_state_values(number, TrialState.WAITING)

    def _set_aside(self, number: int, owner: Owner) -> None:
        aside = replace(owner, lease=None, attempt=owner.attempt - 1, is_set_aside=True)
        self._storage.set_trial_system_attr(number, OWNER, asdict(aside))

    def _ask(self) -> "optuna.Trial | None":
        """Takes a waiting trial or a new one. A new one too many waits for a longer search."""
        from optuna.trial import TrialState

        trial = self.study.ask()
        if trial.number >= self.trials:
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            return None
        before = owner_of(self._storage.get_trial(trial._trial_id))
        self._taken = trial._trial_id
        self._owner = this_process(before.attempt + 1 if before else 1)
        self._storage.set_trial_system_attr(trial._trial_id, OWNER, asdict(self._owner))
        return trial

    @contextmanager
    def beating(self, trial: "optuna.Trial") -> Iterator[None]:
        """Gives signs of life for a trial, in a thread of its own."""
        stop, lease = threading.Event(), self._owner and self._owner.lease

        def beat() -> None:
            from optuna.exceptions import UpdateFinishedTrialError

            count, key = 0, f"{BEAT}{lease}"
            # A thread that gives up says nothing: the worker meets the same error.
            with suppress(UpdateFinishedTrialError, StorageGoneError):
                while not stop.wait(self.patience.beat_seconds):
                    count += 1
                    self._storage.set_trial_system_attr(trial._trial_id, key, count)

        threading.Thread(target=beat, name="beat", daemon=True).start()
        try:
            yield
        finally:
            stop.set()

    def finish(self, trial: "optuna.Trial", row: Row, values: Sequence[float] | None) -> bool:
        """Ends a trial of this process.

        Args:
            trial: The trial.
            row: What came of it; `number` and `worker` are filled in.
            values: What Optuna learns from, one for each direction; None for nothing.

        Returns:
            Whether it counts: not if the trial was given to another worker meanwhile.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        now, owner = self._storage.get_trial(trial._trial_id), self._owner
        if now.state is not TrialState.RUNNING or not owner or owner_of(now) != owner:
            return False
        if any(now.params.get(name) != value for name, value in row.parameters.items()):
            # A worker that was taken for dead had chosen it, too late for this one to see.
            self._release(trial._trial_id, replace(owner, attempt=owner.attempt - 1))
            return False
        row = replace(row, number=trial.number, worker=owner.worker)
        # Without values it is no failure to Optuna: its samplers learn from the constraints. What
        # failed without one says nothing of its configuration.
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        try:
            self._storage.set_trial_user_attr(trial._trial_id, ROW, row.to_json())
            if row.state == "failed" and not now.constraints:
                self._set_aside(trial._trial_id, owner)
            else:
                self.study.tell(trial, values, state)
        except UpdateFinishedTrialError:
            return False
        return True


def _is_over(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether this command has no more to do for a trial: it has ended, or was set aside."""
    owner = owner_of(trial)
    return trial.state.is_finished() or (owner is not None and owner.is_set_aside)
