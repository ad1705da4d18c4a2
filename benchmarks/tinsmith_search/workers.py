"""Runs the workers of one machine: each a process with its share of cores and memory."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.errors import printable
from tinsmith_search.errors import SearchError
from tinsmith_search.leases import Leases, Patience
from tinsmith_search.owners import owner_of
from tinsmith_search.processes import (
    available_bytes,
    cores_of,
    ignoring_interrupts,
    kill,
    lead_a_session,
    sharing,
    terminated_like_interrupted,
    used_bytes,
)
from tinsmith_search.rows import Row
from tinsmith_search.storage import StorageGoneError, open_storage, rows_of

if TYPE_CHECKING:
    import optuna

# A trial's outcome: its row, and the values that Optuna learns from, or None for no values.
Outcome = tuple[Row, Sequence[float] | None]
Objective = Callable[["optuna.Trial"], Outcome]
Progress = Callable[[list[Row]], None]

_TICK_SECONDS = 0.5
_TERMINATE_SECONDS = 10.0
_STARTS = 3  # so many workers in a row may be killed before they begin


@dataclass(frozen=True)
class Search:
    """What a worker needs to know; it can be pickled, for a new process.

    Attributes:
        url: The storage, as `open_storage` takes it; None for a file of the run folder.
        folder: The run folder.
        study: The name of the study, which exists.
        trials: How many configurations are to be tried, over all workers and machines.
        build: A function of a module; called with `arguments` in each worker, once, it gives the
            objective and Optuna's sampler.
        arguments: What can be pickled.
        patience: When a worker is given up.
        patience_seconds: How long a storage is waited for that does not answer.
    """

    url: str | None
    folder: Path
    study: str
    trials: int
    build: "Callable[..., tuple[Objective, optuna.samplers.BaseSampler | None]]"
    arguments: tuple[Any, ...] = ()
    patience: Patience = field(default_factory=Patience)
    patience_seconds: float = 600.0


def run_workers(
    search: Search,
    workers: int = 1,
    *,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Works until all configurations of the study have ended, those of other machines too.

    One worker runs in this process. Several are processes of their own; one that dies is
    replaced. A worker, with all its children, that holds more than its share of the memory is
    ended, and its trial has failed. Trials that were set aside are tried again first.

    Args:
        search: What to try.
        workers: How many at once.
        memory_bytes: What they may hold together; nine tenths of this machine's, if not given.
        progress: Gets the rows, each time that something may have changed.

    Raises:
        SearchError: the storage is gone, or the workers cannot begin.
        KeyboardInterrupt: by Ctrl-C or SIGTERM; the running trials have been given back.
    """
    with terminated_like_interrupted():
        if workers == 1:
            _work(search, progress or (lambda rows: None), Leases.put_back_set_aside)
        else:
            share = (memory_bytes or int(0.9 * available_bytes())) // workers
            _Supervisor(search, workers, share).run(progress or (lambda rows: None))


def _open(search: Search, sampler: "optuna.samplers.BaseSampler | None" = None) -> Leases:
    import optuna

    storage = open_storage(
        search.url, search.folder, patience_seconds=search.patience_seconds, joining=True
    )
    study = optuna.load_study(study_name=search.study, storage=storage, sampler=sampler)
    return Leases(study, storage, search.trials, search.patience)


def _work(search: Search, progress: Progress, begun: Callable[[Leases], None]) -> None:
    """Tries one configuration after the other, until all have ended."""
    from optuna.exceptions import UpdateFinishedTrialError

    objective, sampler = search.build(*search.arguments)
    with closing(_open(search, sampler)) as leases:
        begun(leases)
        try:
            while (trial := leases.take()) is not None:
                with suppress(
                    UpdateFinishedTrialError
                ):  # Another worker was given it, and is done.
                    progress(rows_of(leases.study))
                    with leases.beating(trial):
                        row, values = _tried(objective, trial)
                    leases.finish(trial, row, values)
        except KeyboardInterrupt:
            leases.release()
            raise
        progress(rows_of(leases.study))


def _tried(objective: Objective, trial: "optuna.Trial") -> Outcome:
    """Gives an objective's outcome; an error of it is the outcome of a failed trial."""
    from optuna.exceptions import UpdateFinishedTrialError

    start = time.monotonic()
    try:
        row, values = objective(trial)
    except (StorageGoneError, UpdateFinishedTrialError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, OSError):  # of this machine, not of the configuration
            return _failed(trial, reason, start)
    else:
        if values is None or not any(value != value for value in values):
            return row, values
        reason = f"expected numbers to learn from, got {list(values)}"
    trial.set_constraint("failed", 1.0)
    return _failed(trial, reason, start)


def _failed(trial: "optuna.Trial", reason: str, start: float) -> Outcome:
    seconds = time.monotonic() - start
    return Row(trial.number, "failed", "", trial.params, reason=reason, seconds=seconds), None


def _worker(search: Search, parent: int, line: Connection) -> None:
    """The main function of a worker's process."""
    lead_a_session(parent)
    try:
        with terminated_like_interrupted():
            _work(search, lambda rows: None, lambda _: line.send(None))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        with suppress(BrokenPipeError):  # The supervisor is gone: nobody is left to hear it.
            line.send(" ".join(f"{error}".split()) or type(error).__name__)
        sys.exit(1)


@dataclass
class _Place:
    """A place for a worker: its cores and the process that has it now."""

    cores: frozenset[int]
    process: Any = None
    line: Connection | None = None
    begun: bool = False
    starts: int = 0
    error: str | None = None


class _Supervisor:
    """Keeps a number of workers running."""

    def __init__(self, search: Search, workers: int, share_bytes: int) -> None:
        self._search = search
        self._share_bytes = share_bytes
        self._places = [_Place(cores) for cores in cores_of(workers)]
        self._leases = _open(search)

    def run(self, progress: Progress) -> None:
        try:
            self._leases.put_back_set_aside()
            for place in self._places:
                self._start(place)
            while any(place.process is not None for place in self._places):
                time.sleep(_TICK_SECONDS)
                for place in self._places:
                    self._look_at(place)
                progress(rows_of(self._leases.study))
            progress(rows_of(self._leases.study))
        finally:
            self._end_all()
            self._leases.close()

    def _start(self, place: _Place) -> None:
        place.starts = 1 if place.begun else place.starts + 1
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(self._search, os.getpid(), theirs))
        with sharing(place.cores), ignoring_interrupts():
            process.start()
        theirs.close()
        place.process, place.line, place.begun, place.error = process, ours, False, None

    def _look_at(self, place: _Place) -> None:
        """Replaces a worker that has died, and ends one that takes too much memory."""
        process = place.process
        if process is None:
            return
        alive = process.is_alive()
        _read_messages(place)
        if alive:
            used = used_bytes(process.pid)
            if used <= self._share_bytes:
                return
            reason = f"its worker held {used} bytes of memory, of at most {self._share_bytes}"
            self._fail_trial_of(process.pid, reason)
            kill(process.pid)
            process.join()
            _say(f"{reason}; ended it, and starts another")
        elif process.exitcode == 0:
            place.process = None
            return
        elif place.error is not None or (not place.begun and place.starts >= _STARTS):
            how = (
                place.error or f"a worker ended with exit status {process.exitcode} before it began"
            )
            raise SearchError(how)
        else:
            _say(f"a worker ended with exit status {process.exitcode}; starts another")
            kill(process.pid)  # What it has started lives on.
        self._start(place)

    def _fail_trial_of(self, process: int, reason: str) -> None:
        for trial in self._leases.study.get_trials(deepcopy=False):
            owner = owner_of(trial)
            if owner and owner.is_process(process):
                self._leases.put_back(trial, reason, attempts=1)

    def _end_all(self) -> None:
        """Asks the workers to give their trials back, and ends those that do not."""
        processes = [place.process for place in self._places if place.process is not None]
        for process in processes:
            process.terminate()
        end = time.monotonic() + _TERMINATE_SECONDS
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            kill(process.pid)
            process.join()
        if processes:
            self._leases.hurry()
            with suppress(StorageGoneError):
                self._leases.put_back_dead(self._leases.study.get_trials(deepcopy=False))


def _read_messages(place: _Place) -> None:
    """Reads what a worker has sent: that it has begun, or why it cannot go on."""
    with suppress(EOFError):
        while place.line is not None and place.line.poll():
            place.error = place.line.recv()
            place.begun = place.begun or place.error is None


def _say(what: str) -> None:
    print(f"tinsmith search: {printable(what)}", file=sys.stderr, flush=True)
