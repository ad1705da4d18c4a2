"""The end of a search: the front is compiled and tested once, and laid down in `best/`.

| file of `best/trial-N/` | what |
|---|---|
| `model.tin` | the bundle, compiled from all training images and evaluated on the test set |
| `model.keras` | the trained network |
| `report.json`, `report.html` | what `tinsmith bench` measured of the bundle |
| `tinsmith.toml` | makes all of it again: `tinsmith train`, then `tinsmith export` |
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench import bench, parse_report
from tinsmith_bench.test_set import Samples
from tinsmith_data import Dataset
from tinsmith_data.sources import Kind, kind_of
from tinsmith_export.inputs.sources import Source
from tinsmith_runtime.cli.settings import FILE
from tinsmith_runtime.cli.toml import toml_text
from tinsmith_runtime.files import write_whole
from tinsmith_search import stages
from tinsmith_search.boards.line import turn_here
from tinsmith_search.boards.measurement import OPTIONS
from tinsmith_search.cache import Entry
from tinsmith_search.errors import SearchError
from tinsmith_search.rows import Row
from tinsmith_search.space import Choice
from tinsmith_search.task import Task, tell
from tinsmith_search.trial import Trials

BEST = "best"
TESTED = "tested.json"
_AGAIN = "again"  # the run folder in which `tinsmith train` makes a model again
_PARTIAL = ".partial-"

Answers = Mapping[int, NDArray[np.bool_]]


@dataclass(frozen=True)
class Tested:
    """What the test set says of the front.

    Attributes:
        rows: of the front, with the sizes of the bundles in `best/`.
        answers: by a trial's number, whether each answer is right, `bool (samples,)`.
        notes: what a reader must know, a line each.
    """

    rows: tuple[Row, ...]
    answers: Answers
    notes: tuple[str, ...]


def test_front(task: Task, members: Sequence[Row]) -> Tested:
    """Compiles the members of a front, tests them, and lays them down in `best/`.

    What was tested before is not tested again: the test set is looked at once for each member. One
    that cannot be tested has failed, with the reason; the others are tested all the same.

    Args:
        task: the search.
        members: of the front.
    """
    trials = task.trials()
    rows, answers = list[Row](), dict[int, NDArray[np.bool_]]()
    for row in members:
        try:
            found, right = _test_member(task, trials, row)
        except Exception as error:  # of the disk, the compiler, an engine
            said = " ".join(f"{error}".split()) or type(error).__name__
            found = replace(row, state="failed", reason=f"it could not be tested: {said}")
        else:
            answers[row.number] = right
        rows.append(found)
    notes = [f"Trial {row.number}: {row.reason}." for row in rows if row.reason]
    _remove_others(task.folder / BEST, members)
    looks = _note_look(task.folder / TESTED, members)
    if looks > 1:
        notes.append(
            f"The front has changed since the test set was first looked at: {looks} looks so far."
        )
    return Tested(tuple(rows), answers, tuple(notes))


def _test_member(task: Task, trials: Trials, row: Row) -> tuple[Row, NDArray[np.bool_]]:
    """Tests one member and lays it down; gives its new row, and which answers are right."""
    choice = task.space.choose(_fixed(row))
    trained = _trained(trials, choice, row)
    entry = _test(task, trials, choice, trained)
    tell(f"trial {row.number} {'was tested before' if entry.found else 'is tested'}")
    facts, right = entry.facts, _answers(entry)
    found = replace(row, values={**row.values, **facts["values"]}, bundle=_place(row))
    if facts["failures"]:
        reason = f"it fails a gate on the test set: {facts['failures']}"
        found = replace(found, state="infeasible", reason=reason)
    _lay_down(task, choice, row, trained, entry)
    return found, right


def _fixed(row: Row) -> Any:
    """A trial that chooses again what a row's trial has chosen."""
    import optuna

    return optuna.trial.FixedTrial(row.parameters)


def _trained(trials: Trials, choice: Choice, row: Row) -> Entry:
    """The trained network of a trial: of the cache, or made again where that is elsewhere."""
    judged, network = trials.network(choice, _fixed(row))
    return stages.train(trials.cache, judged, network, choice.epochs, choice.train)


def _test(task: Task, trials: Trials, choice: Choice, trained: Entry) -> Entry:
    dataset = task.dataset(choice.size)

    def make(folder: Path) -> dict[str, Any]:
        from tinsmith_bench.rendering.html import html

        bundle = folder / stages.BUNDLE
        inputs = _samples(task.data, dataset)
        facts = stages.compiled(trained, inputs, bundle, choice.export, task.seed)
        samples = Samples(dataset.name, dataset.sha256, dataset.x_test, dataset.y_test)
        with turn_here(tell):
            report = bench([bundle], samples=samples, options=OPTIONS)
        (folder / "report.json").write_text(report.to_json(), encoding="utf-8")
        (folder / "report.html").write_text(html(report), encoding="utf-8")
        return facts

    what = {"network": trained.key, "settings": dict(choice.export), "data": dataset.sha256}
    more = {"seed": task.seed, "options": asdict(OPTIONS)}
    return trials.cache.get("test", what | more, make)


def _samples(data: str, dataset: Dataset) -> Dataset | Source:
    """What `tinsmith export --data` would take."""
    return dataset if kind_of(data) is Kind.DATASET else Source(data)


def _answers(entry: Entry) -> NDArray[np.bool_]:
    report = parse_report((entry.folder / "report.json").read_text(encoding="utf-8"))
    int8 = (one.accuracy for one in report.variants if one.precision == "int8" and one.accuracy)
    found = next(int8, None)
    if found is None:
        raise SearchError("expected an engine that runs bundles here, got none: tinsmith doctor")
    right = np.ones(report.dataset.samples, bool)
    right[list(found.wrong)] = False
    return right


def _place(row: Row) -> str:
    return f"{BEST}/trial-{row.number}/{stages.BUNDLE}"


def _lay_down(task: Task, choice: Choice, row: Row, trained: Entry, tested: Entry) -> None:
    """Makes a member's folder beside its place, then moves it there."""
    best = task.folder / BEST
    best.mkdir(exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=best))
    try:
        for name in (stages.BUNDLE, "report.json", "report.html"):
            shutil.copyfile(tested.folder / name, partial / name)
        shutil.copyfile(trained.folder / stages.MODEL, partial / stages.MODEL)
        (partial / FILE).write_text(_settings(task, choice, row), encoding="utf-8")
        partial.chmod(0o755)
        place = best / f"trial-{row.number}"
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
    except OSError as error:
        raise SearchError(f"cannot write to {best}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _settings(task: Task, choice: Choice, row: Row) -> str:
    """The `tinsmith.toml` that makes a member again, with what the trial chose as its comment."""
    data = task.data
    if kind_of(data) is not Kind.DATASET and Path(data).exists():
        data = str(Path(data).resolve())
    train = {
        "model": stages.MODEL,
        "data": data,
        "size": choice.size,
        "epochs": choice.epochs,
        "held-back": task.space.held_back,
        "seed": task.seed,
        "out": _AGAIN,
        **{key.replace("_", "-"): value for key, value in choice.train.items()},
    }
    export = {
        "model": f"{_AGAIN}/{stages.MODEL}",
        "data": data,
        "targets": ",".join(stages.TARGETS),
        "seed": task.seed,
        "out": f"{_AGAIN}/{stages.BUNDLE}",
        **{key.removesuffix("_s").replace("_", "-"): one for key, one in choice.export.items()},
    }
    tables = {
        name: {key: value for key, value in table.items() if value is not None}
        for name, table in (("train", train), ("export", export))
    }
    about = [f"# Trial {row.number} of a search: `tinsmith train`, then `tinsmith export`."]
    about += [f"# {name} = {json.dumps(value)}" for name, value in row.parameters.items()]
    return "\n".join(about) + "\n\n" + toml_text(tables)


def _remove_others(best: Path, members: Sequence[Row]) -> None:
    """Removes who is no member any more, and what a killed process left."""
    kept = {f"trial-{row.number}" for row in members}
    for path in (*best.glob("trial-*"), *best.glob(f"{_PARTIAL}*")):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _note_look(path: Path, members: Sequence[Row]) -> int:
    """Keeps which fronts the test set was looked at for, and counts them."""
    try:
        fronts = json.loads(path.read_text(encoding="utf-8"))["fronts"]
    except (OSError, ValueError, KeyError, TypeError):
        fronts = []
    numbers = [row.number for row in members]
    if numbers and (not fronts or fronts[-1] != numbers):
        fronts.append(numbers)
        write_whole(path, (json.dumps({"fronts": fronts}) + "\n").encode())
    return len(fronts)
