"""One trial: its network goes through the stages until one refuses it, or it is done.

How it ends is told to Optuna so that the sampler learns from all of it, and from nothing untrue. An
objective that was not measured is not made up: who ends early gets the state `PRUNED`, without
values, and a constraint above 0, by which Optuna's TPE sampler ranks such trials, the nearest to 0
first, all behind those that are done:

| ends because | constraint |
|---|---|
| a limit is not kept | how far it is missed, see `Limit.violation`, by the limit's name |
| it cannot be built, trained or compiled, or fails a gate of the export | `refused`: 1 |
| other trials are better after a short training | `promotion`: how far it is behind, 0 to 1 |

What has nothing to do with the configuration, such as a full disk or boards that are lost, says
nothing of it: such a trial has failed without a constraint. It is set aside, and the next command
tries it again; see `leases`.
"""

import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tinsmith_runtime import TinsmithError
from tinsmith_search import stages
from tinsmith_search.cache import Cache, Entry
from tinsmith_search.errors import SearchError
from tinsmith_search.goals import Limit
from tinsmith_search.measuring import Measure
from tinsmith_search.networks import build_network, without_warnings
from tinsmith_search.promotion import promote
from tinsmith_search.rows import Row
from tinsmith_search.space import Choice, Space
from tinsmith_search.stages import Found, Judged
from tinsmith_search.storage import ROW, StorageGoneError
from tinsmith_train import RunFolderError

if TYPE_CHECKING:
    import optuna

REACHED = "reached "
"""A user attribute of a trial, with the name of a stage behind it: the metrics there."""

_ESTIMATED = 0.05  # `check` tells the size of a file so exactly
_SIXTH = 6
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # no fault of a network

Outcome = tuple[Row, Sequence[float] | None]


class _EndedError(Exception):
    """The trial ends before its last stage."""

    def __init__(self, state: Any, reason: str, constraints: Mapping[str, float]) -> None:
        super().__init__(reason)
        self.state, self.reason, self.constraints = state, reason, constraints


@dataclass
class Trials:
    """Tries what Optuna chooses.

    Attributes:
        space: what is chosen from.
        cache: of the run folder.
        load: loads the data at a size of images, `None` for their own, and divides them.
        measure: measures a bundle on boards or on this machine.
    """

    space: Space
    cache: Cache
    load: Callable[[int | None], Judged]
    measure: Measure
    _loaded: dict[int | None, Judged] = field(default_factory=dict)

    def __call__(self, trial: "optuna.Trial") -> Outcome:
        """Runs one trial to its end, and keeps its row in the storage behind each stage."""
        attempt = _Attempt(self, trial)
        try:
            with without_warnings():
                return attempt.run()
        except _EndedError as ended:
            return attempt.ended(ended)
        except StorageGoneError:
            raise
        except (SearchError, RunFolderError) as error:
            return attempt.ended(_EndedError("failed", str(error), {}))
        except TinsmithError as error:
            if getattr(error.__cause__, "errno", None) in _DISK:
                return attempt.ended(_EndedError("failed", str(error), {}))
            return attempt.ended(_EndedError("infeasible", str(error), {"refused": 1.0}))

    def judged(self, size: int | None) -> Judged:
        """The data at a size of images, loaded once."""
        if size not in self._loaded:
            self._loaded[size] = self.load(size)
        return self._loaded[size]

    def network(self, choice: Choice, trial: "optuna.Trial") -> tuple[Judged, Entry]:
        """Builds the network that a trial has chosen, not trained; gives its data, too."""
        judged = self.judged(choice.size)
        shape, classes = judged.dataset.x_train.shape[1:], len(judged.dataset.labels)
        net = build_network(choice.model, trial, shape, classes)
        return judged, stages.check(self.cache, net)

    def short_epochs(self, epochs: int) -> tuple[int, ...]:
        """The epochs of the short trainings before one of so many."""
        found = self.space.short_epochs or (max(1, epochs // _SIXTH),)
        return tuple(number for number in found if number < epochs)


class _Attempt:
    """A trial on its way."""

    def __init__(self, trials: Trials, trial: "optuna.Trial") -> None:
        self._trials, self._trial = trials, trial
        self._goals = trials.space.goals
        self._started = time.perf_counter()
        self._reached = set[str]()
        self._row = Row(trial.number, "running", "", {})

    def run(self) -> Outcome:
        choice = self._trials.space.choose(self._trial)
        self._row = replace(self._row, parameters=dict(self._trial.params))
        for stage, entry, found in self._stages(choice):
            self._note(stage, entry, found)
            if found.refused and stage != "ptq":
                raise _EndedError("infeasible", found.refused, {"refused": 1.0})
            self._require_limits(stage)
            if stage.startswith("short"):
                self._require_promotion(stage)
        for name, over in self._missed().items():
            self._trial.set_constraint(name, over)
        values = [self._row.values[str(one.metric)] for one in self._goals.objectives]
        return replace(self._row, state="done", seconds=self._seconds()), values

    def _stages(self, choice: Choice) -> Iterator[tuple[str, Entry, Found]]:
        """Does one stage after the other, as long as somebody asks for the next."""
        cache, train = self._trials.cache, choice.train
        try:
            judged, network = self._trials.network(choice, self._trial)
        finally:  # a function of the user's own has chosen by now
            self._row = replace(self._row, parameters=dict(self._trial.params))
        yield "check", network, stages.checked(network)
        ptq = {**choice.export, "recipe": "ptq"}
        last = network
        for number in self._trials.short_epochs(choice.epochs):
            last = stages.train(cache, judged, network, number, train)
            yield f"short {number}", last, stages.trained(last)
        if last is not network:
            entry = stages.export(cache, judged, last, ptq)
            yield "ptq", entry, stages.exported(entry)
        last = stages.train(cache, judged, network, choice.epochs, train)
        yield "full", last, stages.trained(last)
        last = stages.export(cache, judged, last, choice.export)
        yield "export", last, stages.exported(last)
        if self._goals.measured:
            measured = self._trials.measure(last.folder / stages.BUNDLE, last.key)
            self._row = replace(self._row, measured_on=measured.measured_on)
            yield "measure", last, Found(measured.values, measured.intervals)

    def _note(self, stage: str, entry: Entry, found: Found) -> None:
        """Keeps what a stage tells, in the trial's row and by itself for promotions."""
        row = self._row
        self._row = replace(
            row,
            stage=stage,
            values={**row.values, **found.values},
            intervals={**row.intervals, **found.intervals},
            seconds=self._seconds(),
            bundle=_bundle(entry) or row.bundle,
        )
        self._reached.add(stage)
        self._trial.set_user_attr(f"{REACHED}{stage}", self._row.values)
        self._trial.set_user_attr(ROW, self._row.to_json())

    def _require_limits(self, stage: str) -> None:
        """Ends a trial that cannot keep to a limit any more."""
        missed = {name: over for name, over in self._sure(stage).items() if over > 0}
        if missed:
            raise _EndedError("infeasible", self._say_missed(missed), {})

    def _sure(self, stage: str) -> dict[str, float]:
        """How far limits are missed that no later stage could keep after all."""
        found = self._missed()
        for limit in self._goals.limits:
            name = str(limit)
            if name not in found:
                continue
            if limit.metric.name == "accuracy" and stage not in ("export", "measure"):
                del found[name]  # it grows with training
            elif limit.metric.name == "size_bytes" and not self._reached & {"ptq", "export"}:
                found[name] -= _ESTIMATED
        return found

    def _missed(self) -> dict[str, float]:
        return self._goals.violations(self._row.values)

    def _say_missed(self, missed: Mapping[str, float]) -> str:
        limits = {str(limit): limit for limit in self._goals.limits}
        return "; ".join(_say(limits[name], self._row.values) for name in missed)

    def _require_promotion(self, stage: str) -> None:
        """Ends a trial that is not in the better part of those that came so far."""
        if f"{REACHED}ptq" in self._trial.user_attrs:
            return  # An earlier attempt went on from here.
        key = f"{REACHED}{stage}"
        others = [
            one.user_attrs[key]
            for one in self._trial.study.get_trials(deepcopy=False)
            if key in one.user_attrs and one.number != self._trial.number
        ]
        found = promote(self._row.values, others, self._goals, self._trials.space.eta)
        if not found.promoted:
            reason = f"place {found.place} of {found.among} after {_epochs(stage)}"
            raise _EndedError("not promoted", reason, {"promotion": found.shortfall})

    def ended(self, ended: _EndedError) -> Outcome:
        """The outcome of a trial that ended early; the sampler learns its constraints."""
        if ended.state != "failed":
            for name, over in {**self._sure(self._row.stage), **ended.constraints}.items():
                self._trial.set_constraint(name, over)
        row = replace(self._row, state=ended.state, reason=ended.reason, seconds=self._seconds())
        return row, None

    def _seconds(self) -> float:
        return time.perf_counter() - self._started


def _bundle(entry: Entry) -> str | None:
    path = entry.folder / stages.BUNDLE
    return str(path.relative_to(entry.folder.parent.parent)) if path.exists() else None


def _epochs(stage: str) -> str:
    """How long a short training was, in words."""
    number = stage.removeprefix("short ")
    return f"{number} epoch{'s' * (number != '1')}"


def _say(limit: Limit, values: Mapping[str, float]) -> str:
    return f"{limit}: {values[str(limit.metric)]:.12g}"
