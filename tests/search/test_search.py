"""A whole search on `digits`: stopped, gone on with, repeated, and its best made again."""

import io
import json
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tinsmith_runtime import read_bundle
from tinsmith_runtime.cli.command import main
from tinsmith_search.api import search
from tinsmith_search.boards import Boards, Measurement
from tinsmith_search.errors import SearchError
from tinsmith_search.rows import Row

pytestmark = pytest.mark.slow

# 96 filters make a file above the limit.
SPACE = """
[model]
family = "cnn"
depth = 1
widths = [4, 6, 96]
strides = 4

[train]
epochs = 2
learning-rate = { low = 0.005, high = 0.01 }

[export]
recipe = "ptq"
max-drop-pp = 50

[stages]
short-epochs = 1
eta = 100

[goals]
objectives = ["maximize accuracy", "minimize size_bytes"]
limits = ["size_bytes <= 8 kB"]
"""
TRIALS = 5


def entries(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cache/*/entry.json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("search")
    (found / "space.toml").write_text(SPACE)
    return found


@pytest.fixture(scope="module")
def stopped(folder: Path) -> tuple[Path, dict[str, int]]:
    """The run folder of a search that Ctrl-C ended behind its first trial."""
    out = folder / "run"

    def interrupt(rows: list[Row]) -> None:
        if any(row.state == "done" for row in rows):
            raise KeyboardInterrupt

    found = search(folder / "space.toml", "digits", out, trials=TRIALS, progress=interrupt)
    assert found.stopped
    assert len(found.report.front) == 1
    assert found.report.test_samples is None
    assert not (out / "best").exists()
    assert json.loads((out / "search.json").read_text()) == json.loads(found.report.to_json())
    assert "</html>" in (out / "search.html").read_text()
    return out, entries(out)


@pytest.fixture(scope="module")
def searched(stopped: tuple[Path, dict[str, int]], folder: Path) -> tuple[Path, dict[str, Any]]:
    """The same folder when the same command has gone on to the end, and its report."""
    out, before = stopped
    status, report = run(folder, "--json", "--html", str(folder / "page.html"))
    assert status == 0
    assert before.items() <= entries(out).items(), "something was made twice"
    assert (out / "search.json").read_text() == report
    assert "</html>" in (out / "search.html").read_text()
    assert "</html>" in (folder / "page.html").read_text()
    return out, json.loads(report)


def run(folder: Path, *words: str, trials: int = TRIALS) -> tuple[int, str]:
    """The exit status of the command, and what it prints."""
    named = ["--data", "digits", "--out", str(folder / "run"), "--trials", str(trials)]
    with redirect_stdout(io.StringIO()) as printed:
        status = main(["search", str(folder / "space.toml"), *named, *words])
    return status, printed.getvalue()


def test_every_trial_ends_once_and_says_how(searched: tuple[Path, dict[str, Any]]) -> None:
    rows = searched[1]["trials"]
    assert [row["number"] for row in rows] == list(range(TRIALS))
    states = {row["state"] for row in rows}
    assert states == {"done", "infeasible", "not promoted"}
    for row in rows:
        wide = row["parameters"]["model.widths.1"] == 96
        assert (row["state"] == "infeasible") == wide
        if wide:  # by the check alone: nothing was trained
            assert row["stage"] == "check"
            assert row["reason"].startswith("size_bytes <= 8000: ")
        elif row["state"] == "not promoted":
            assert re.fullmatch(r"place \d of \d after 1 epoch", row["reason"])


def test_the_sampler_learns_from_those_that_end_early(
    searched: tuple[Path, dict[str, Any]],
) -> None:
    out, report = searched
    study = optuna.load_study(study_name="run", storage=f"sqlite:///{out / 'study.db'}")
    states = {row["number"]: row["state"] for row in report["trials"]}
    for trial in study.trials:
        over = [value for value in trial.constraints.values() if value > 0]
        is_done = states[trial.number] == "done"
        assert (trial.state is TrialState.COMPLETE) == is_done == (not over)
        assert bool(trial.values) == is_done, "no objective is made up"


def test_what_lies_in_best(searched: tuple[Path, dict[str, Any]]) -> None:
    out, report = searched
    assert {f"trial-{member['number']}" for member in report["front"]} == {
        path.name for path in (out / "best").iterdir()
    }
    for member in report["front"]:
        place = out / "best" / f"trial-{member['number']}"
        manifest = read_bundle(place / "model.tin").manifest
        row = report["trials"][member["number"]]
        sizes = [one.size_bytes for one in manifest.variants if one.id == "int8-tflite"]
        assert sizes == [row["values"]["size_bytes"]]
        assert sizes[0] <= 8000
        tested = json.loads((place / "report.json").read_text())
        tops = [one["accuracy"]["top1"]["value"] for one in tested["variants"]]
        assert member["test_accuracy"]["value"] in tops
        assert (place / "report.html").exists()


def test_the_best_is_made_again_byte_by_byte(
    searched: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, report = searched
    again = shutil.copytree(out / "best" / f"trial-{report['front'][0]['number']}", tmp_path / "b")
    monkeypatch.chdir(again)
    assert main(["train", "--quiet"]) == 0
    assert main(["export", "--quiet"]) == 0
    assert (again / "again/model.tin").read_bytes() == (again / "model.tin").read_bytes()


def test_the_same_command_makes_nothing_again(
    searched: tuple[Path, dict[str, Any]], folder: Path
) -> None:
    out, report = searched
    before = entries(out)
    status, printed = run(folder, "--json")
    assert (status, entries(out)) == (0, before)
    assert json.loads(printed)["front"] == report["front"]
    assert json.loads((out / "tested.json").read_text())["fronts"] == [
        [member["number"] for member in report["front"]]
    ]


def test_a_member_that_cannot_be_tested_stops_neither_the_others_nor_the_report(
    searched: tuple[Path, dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = searched
    first, *others = (member["number"] for member in before["front"])
    for count, number in enumerate([first, *others], 1):
        place = out / "best" / f"trial-{number}"
        shutil.rmtree(place)
        place.touch()  # a file where the folder belongs
        if count in (1, len(before["front"])):
            status, printed = run(folder, "--json")
            report = json.loads(printed)
            tested = [member["test_accuracy"] is not None for member in report["front"]]
            assert tested == [False] * count + [True] * (len(before["front"]) - count)
            assert (status, report["winner"] is None) in [(0, False), (1, True)]
    rows = [report["trials"][number] for number in (first, *others)]
    assert {row["state"] for row in rows} == {"failed"}
    assert all(row["reason"].startswith("it could not be tested: cannot write") for row in rows)
    assert len(report["notes"]) == len(rows)
    assert status == 1
    line = "tinsmith: no winner: No trial of the front passed its test at the end."
    assert line in capsys.readouterr().err.splitlines()
    for number in (first, *others):
        (out / "best" / f"trial-{number}").unlink()
    (out / "search.json").unlink()
    (out / "search.json").mkdir()
    status, printed = run(folder, "--json")
    (out / "search.json").rmdir()
    assert (status, json.loads(printed)["winner"]) == (0, before["winner"])
    assert any("search.json" in note for note in json.loads(printed)["notes"])


def test_a_trial_that_no_board_measured_is_measured_by_the_next_command(
    searched: tuple[Path, dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, space = folder / "measured", folder / "measured.toml"
    shutil.copytree(searched[0] / "cache", out / "cache")
    space.write_text(SPACE.replace('["maximize accuracy"', '["minimize latency_us_p50"'))

    def lost(*_: object, **__: object) -> Measurement:
        raise SearchError("no board answers: \x1b[2J")

    def found(boards: Boards, *_: object, **__: object) -> Measurement:
        (hardware,) = boards.hardware.values()
        return Measurement({"latency_us_p50": 7.0}, {}, hardware, {}, "this machine", "int8")

    monkeypatch.setattr(Boards, "measure", lost)
    first = search(space, "digits", out, trials=2).report
    failed = {row.number for row in first.trials if row.state == "failed"}
    assert failed
    assert first.winner is None
    before = entries(out)
    monkeypatch.setattr(Boards, "measure", found)
    second = search(space, "digits", out, trials=2).report
    assert {row.number for row in second.trials if row.state == "done"} == failed
    assert [row.number for row in second.trials] == [0, 1]
    assert second.winner in failed
    made = {name.rpartition("-")[0] for name in entries(out).keys() - before.keys()}
    assert made <= {"measure", "test"}


def test_a_study_of_another_space_is_refused(
    searched: tuple[Path, dict[str, Any]], folder: Path
) -> None:
    other = folder / "other.toml"
    other.write_text(SPACE.replace("epochs = 2", "epochs = 3"))
    with pytest.raises(SearchError, match=r"begun with other \[train\]: go on with those"):
        search(other, "digits", searched[0], trials=TRIALS)
    with pytest.raises(SearchError, match="begun with other seed"):
        search(folder / "space.toml", "digits", searched[0], trials=TRIALS, seed=1)
