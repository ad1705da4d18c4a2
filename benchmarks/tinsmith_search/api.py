"""`search`: looks for the smallest networks that meet a goal."""

import _thread
import json
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith_data.installed import require_installed
from tinsmith_data.limits import MAX_SEED, require_real, require_whole
from tinsmith_data.named import import_named
from tinsmith_runtime import TinsmithError
from tinsmith_runtime.files import write_whole
from tinsmith_search.boards import Boards
from tinsmith_search.cache import Cache
from tinsmith_search.errors import SearchError
from tinsmith_search.rows import Row
from tinsmith_search.space import Space, read_space
from tinsmith_search.task import Task, begin, tell

if TYPE_CHECKING:
    import optuna

    from tinsmith_search.report import SearchReport

_ASKED, _HARDWARE = "tinsmith:asked", "tinsmith:hardware"
_FOR_TRIALS = 0.85  # of a budget; the rest is for the front's test and its reports
_MOST_TRIALS = 1_000_000

Progress = Callable[[list[Row]], None]


@dataclass(frozen=True)
class Searched:
    """What a search gave.

    Attributes:
        report: all of it as data.
        out: the run folder; the front lies in `best/`, the report in `search.html` and
            `search.json`.
        stopped: whether Ctrl-C ended it: then the test set was not looked at.
    """

    report: "SearchReport"
    out: Path
    stopped: bool


def search(
    space: Path | Space,
    data: str = "mnist",
    out: Path = Path("runs/search"),
    *,
    trials: int = 100,
    storage: str | None = None,
    study: str | None = None,
    workers: int = 1,
    boards: Path | None = None,
    seed: int = 0,
    budget_s: float | None = None,
    progress: Progress | None = None,
    command: str = "tinsmith.search",
) -> Searched:
    """Searches until so many trials have ended; the same call goes on where another one stopped.

    It clears Keras's session for each network, and takes Ctrl-C for itself: call it from the main
    thread of a program that does nothing else with Keras meanwhile.

    Args:
        space: a `space.toml`, or what `parse_space` made of one.
        data: labelled images, as `--data`.
        out: the run folder, made if need be.
        trials: how many, over all calls and machines.
        storage: where the study lies, as `open_storage` takes it; a file in `out` if `None`.
        study: its name there; the name of `out` if `None`.
        workers: how many processes try configurations at once.
        boards: a file of boards, where the goals name some.
        seed: of everything random.
        budget_s: seconds for all of it, the test of the front included, about.
        progress: gets the rows whenever something may have changed.
        command: what was typed, for the report.

    Raises:
        UsageError: an argument is wrong.
        SearchError: the space, its goals or the storage cannot be used, or the study in the
            storage was begun with others.
        DatasetError: there are no such data.
    """
    require_installed("tinsmith[search]", "optuna", "keras", "tensorflow", "jinja2", "matplotlib")
    require_whole("trials", trials, 1, _MOST_TRIALS)
    require_whole("workers", workers, 1, 1024)
    require_whole("seed", seed, 0, MAX_SEED)
    if budget_s is not None:
        require_real("budget_s", budget_s, 1, 1e9)
    task = _task(space if isinstance(space, Space) else read_space(space), data, out, seed, boards)
    size = task.space.model.get("size")
    judged = task.judged(size.only if size else None)
    try:
        Cache(out / "cache").clean()
    except OSError as error:
        raise SearchError(f"cannot write to {out}: {error.strerror or error}") from error
    name = study or out.resolve().name
    opened = _open_study(task, storage, name, judged.dataset.sha256)
    _check_boards(task, opened)
    stopped = _run(task, opened, storage, trials, workers, budget_s, progress)
    return _finished(task, opened, stopped, command, len(judged.dataset.y_test))


def _task(space: Space, data: str, out: Path, seed: int, boards: Path | None) -> Task:
    """What the workers will know; boards and functions that are not there are told at once."""
    known = Boards.read(boards) if boards else Boards()
    for metric in space.goals.measured:
        known.tagged(metric.board)
    if "function" in space.model:
        import_named(space.model["function"].only)
    return Task(space, data, out, seed, known)


def _open_study(task: Task, storage: str | None, name: str, data: str) -> "optuna.Study":
    """Opens the study, or begins it; refuses one that was begun with something else."""
    import optuna

    from tinsmith_search.storage import open_storage

    goals = task.space.goals
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = open_storage(storage, task.folder)
    study = optuna.create_study(
        study_name=name,
        storage=opened,
        directions=[one.direction for one in goals.objectives],
        load_if_exists=True,
    )
    asked = {"space": json.loads(task.space.describe()), "data": data, "seed": task.seed}
    begun = study.user_attrs.get(_ASKED)
    if begun is None:
        study.set_user_attr(_ASKED, asked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([str(one.metric) for one in goals.objectives])
    elif begun != asked:
        raise SearchError(
            f"the study `{name}` was begun with other {_differing(begun, asked)}: go on with "
            "those, or begin a new one in another --out"
        )
    return study


def _check_boards(task: Task, study: "optuna.Study") -> None:
    """Finds out what the boards are, and holds them to what the study was measured on before."""
    tags = [metric.board for metric in task.space.goals.measured]
    if not tags:
        return
    known = _known_hardware(study)
    found = task.boards.check(tags, known[0] if known else None, tell=tell)
    if found in known:
        return
    # Two machines may begin at once, and find nothing: each writes beside the other and then reads,
    # so at least one of them sees both.
    mine = f"{_HARDWARE}:{uuid.uuid4().hex}"
    study.set_user_attr(mine, found)
    others = [one for one in _known_hardware(study) if one != found]
    if others:
        study.set_user_attr(mine, None)
        raise SearchError(
            f"another machine began this study at the same moment on {_say(others[0])}; here it is "
            f"{_say(found)}: latencies on them cannot be compared: measure on the same hardware, "
            "or begin another study"
        )


def _known_hardware(study: "optuna.Study") -> list[dict[str, str]]:
    """What the boards are by tag, as each machine that began the study has found."""
    attributes = study.user_attrs.items()
    return [found for name, found in attributes if name.startswith(_HARDWARE) and found]


def _say(hardware: dict[str, str]) -> str:
    return "; ".join(f"{tag}: {one}" for tag, one in hardware.items())


def _differing(begun: dict[str, object], asked: dict[str, object]) -> str:
    """The parts of what a study was begun with that are not those of now."""
    old, new = begun.get("space"), asked["space"]
    # The seed divides the data.
    changed = [name for name in ("seed", "data") if begun.get(name) != asked[name]]
    parts = changed[:1]
    if isinstance(old, dict) and isinstance(new, dict):
        tables = {**old, **new}
        parts += [f"[{name}]" for name in tables if old.get(name) != new.get(name)]
    return ", ".join(parts)


def _run(
    task: Task,
    study: "optuna.Study",
    storage: str | None,
    trials: int,
    workers: int,
    budget_s: float | None,
    progress: Progress | None,
) -> bool:
    """Tries configurations; gives whether Ctrl-C came before the budget was spent."""
    from tinsmith_search.workers import Search, run_workers

    if workers == 1:
        # What was chosen before is not chosen again.
        task = replace(task, sampler_seed=(task.seed + len(study.trials)) % MAX_SEED)
    work = Search(storage, task.folder, study.study_name, trials, begin, (task,))
    with _interrupted(budget_s and budget_s * _FOR_TRIALS) as spent:
        try:
            run_workers(work, workers, progress=progress)
        except KeyboardInterrupt:
            return not spent.is_set()
    return False


@contextmanager
def _interrupted(seconds: float | None) -> Iterator[threading.Event]:
    """Ends what runs, as Ctrl-C does, when so many seconds are over; sets an event then."""
    spent = threading.Event()

    def end() -> None:
        spent.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds or 0, end)
    timer.daemon = True
    if seconds:
        timer.start()
    try:
        yield spent
    finally:
        timer.cancel()


def _finished(
    task: Task, study: "optuna.Study", stopped: bool, command: str, held: int
) -> Searched:
    """Tests the front, unless Ctrl-C came, judges the search and writes its report."""
    from tinsmith_search.finish import Tested, test_front
    from tinsmith_search.networks import without_warnings
    from tinsmith_search.page import search_page  # it imports matplotlib
    from tinsmith_search.report import make_report
    from tinsmith_search.storage import rows_of
    from tinsmith_search.winners import front

    rows, goals = rows_of(study), task.space.goals
    members = front(rows, goals)
    tested = Tested(tuple(members), {}, ())
    if members and not stopped:
        try:
            with without_warnings():
                tested = test_front(task, members)
        except KeyboardInterrupt:
            stopped = True
    newest = {row.number: row for row in tested.rows}
    report = make_report(
        study,
        [newest.get(row.number, row) for row in rows],
        goals,
        tested.answers,
        command=command,
        data=task.data,
        members=[row.number for row in members],
        validation_samples=held,
        notes=tested.notes,
    )
    try:
        write_whole(task.folder / "search.json", report.to_json().encode())
        write_whole(task.folder / "search.html", search_page(report).encode())
    except TinsmithError as error:  # a full disk; what was found shall be told all the same
        report = replace(report, notes=(*report.notes, str(error)))
    return Searched(report, task.folder, stopped)
