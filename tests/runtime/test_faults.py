"""Installing and signing while the disk fails: see `tests/faults.py`, which does more on demand."""

import errno
import itertools
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import faults
import faults_churn
import pytest

from tinsmith_runtime.deploy import switch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="takes minutes there, and is about files alone"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinsmith_runtime.deploy.install._require_selftest", lambda *_: None)
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("things")
    faults.make_things(folder)
    return folder


def test_every_call_fails_or_kills(things: Path, tmp_path: Path) -> None:
    """The error is another one from task to task; `tests/faults.py` has each call fail with all."""
    counts, wrong = {}, []
    errors = itertools.cycle(faults.ERRORS)
    for name, task in faults.tasks(things).items():
        counts[name], found = faults.run_task(task, tmp_path, (next(errors), None))
        wrong += [f"{name}: {line}" for line in found]
    assert wrong == []
    assert sum(counts.values()) > 1500
    assert min(counts.values()) > 10


def test_a_raw_error_would_be_seen(things: Path, tmp_path: Path) -> None:
    task = faults.tasks(things)["confirm"]
    with mock.patch("tinsmith_runtime.deploy.trial.file_errors", nullcontext):
        _, wrong = faults.run_task(task, tmp_path, (errno.EIO,))
    assert any(": raw OSError" in line for line in wrong)


@pytest.mark.parametrize("what", ["torn", "told of what was done"])
def test_a_bad_state_would_be_seen(things: Path, tmp_path: Path, what: str) -> None:
    def write_torn(path: Path, data: bytes) -> None:
        with open(path, "wb", buffering=0) as stream:  # noqa: PTH123 its calls are counted
            stream.write(data[:99])
            stream.write(data[99:])

    def flush_after(folder: Path, record: object) -> None:
        switch.flush(folder)

    place, bad = {
        "torn": ("write_whole", write_torn),
        "told of what was done": ("clean", flush_after),
    }[what]
    with mock.patch.object(switch, place, bad):
        _, wrong = faults.run_task(faults.tasks(things)["confirm"], tmp_path, (errno.EIO, None))
    assert any(": bad state: " in line for line in wrong)


def test_killed_while_workers_load() -> None:
    """In a process of its own: what forks must not have engines running."""
    words = [sys.executable, faults_churn.__file__, "--rounds", "60"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {
        name: int(count)
        for count, name in (w.split() for w in done.stdout.split("\n")[0].split(", "))
    }
    assert counts["rounds"] == 60
    assert min(counts["killed"], counts["changed"]) > 5
    assert counts["loads"] > 60
