"""What a search's storage bears: lost answers, wrong URLs, dead workers, two processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from search import simulated
from search.simulated import study_of

from tinsmith_runtime import TinsmithError
from tinsmith_search.errors import SearchError
from tinsmith_search.leases import Leases, Patience
from tinsmith_search.owners import OWNER, owner_of
from tinsmith_search.rows import Row
from tinsmith_search.storage import close_storage, open_storage, rows_of
from tinsmith_search.workers import Search, run_workers

SHORT = Patience(beat_seconds=0.05, grace_seconds=0.2, attempts=2)
COMPLETE = optuna.trial.TrialState.COMPLETE


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[optuna.storages.BaseStorage]:
    opened = open_storage(None, tmp_path)
    yield opened
    close_storage(opened)


def new_study(storage: optuna.storages.BaseStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, directions=["maximize", "minimize"])


def work(leases: Leases) -> None:
    while (trial := leases.take()) is not None:
        values = [trial.suggest_float("x", 0, 1), float(trial.suggest_int("y", 1, 9))]
        trial.set_user_attr("row", Row(trial.number, "running", "check", trial.params).to_json())
        named = dict(zip(("accuracy", "macs"), values, strict=True))
        leases.finish(trial, Row(trial.number, "done", "full", trial.params, named), values)


class LostAnswer:
    """Lets one call of the database get lost: before it was done, or its answer after that."""

    def __init__(self, storage: Any) -> None:
        self.calls, self.lose_at, self.after = 0, -1, False
        backend = storage._backend
        for name in dir(backend):
            asked = name.startswith(
                ("get_", "set_", "_get_trials", "_set_trial_p", "_create_new_t")
            )
            if asked and "heartbeat" not in name:  # Its settings lie in this process.
                setattr(backend, name, self.watched(getattr(backend, name)))

    def watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            lost = self.calls == self.lose_at
            if not lost or self.after:
                answer = method(*arguments, **named)
            if not lost:
                return answer
            gone = sqlalchemy.exc.OperationalError("", None, Exception("server closed"))
            raise optuna.exceptions.StorageInternalError("lost") from gone

        return call


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["call lost", "answer lost"])
def test_each_configuration_ends_once_whichever_call_is_lost(
    storage: optuna.storages.BaseStorage, after: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = LostAnswer(storage)
    faults.after = after
    work(Leases(new_study(storage), storage, 1, SHORT))
    for position in range(1, faults.calls + 1):
        study = new_study(storage)
        faults.calls, faults.lose_at = 0, position
        work(Leases(study, storage, 1, SHORT))
        (ended,) = [trial for trial in study.get_trials() if trial.state.is_finished()]
        assert (ended.number, ended.state) == (0, COMPLETE)
        (row,) = rows_of(study)
        assert (row.state, row.parameters) == ("done", ended.params)
        assert list(row.values.values()) == ended.values
    assert "waits for the storage sqlite" in capsys.readouterr().err


def test_a_worker_that_was_taken_for_dead_cannot_end_the_trial(
    storage: optuna.storages.BaseStorage,
) -> None:
    study = new_study(storage)
    first, second = (Leases(study, storage, 1, SHORT) for _ in range(2))
    trial = first.take()
    assert trial is not None
    width = trial.suggest_float("width", 0, 1)
    again = second.take()  # The first does not beat: after the grace its trial is put back.
    assert again is not None
    assert (again.number, again.suggest_float("width", 0, 1)) == (0, width)
    row = Row(0, "done", "full", trial.params)
    assert not first.finish(trial, row, [0.1, 1])
    assert second.finish(again, row, [0.2, 2])
    assert not second.finish(again, row, [0.3, 3])
    assert [trial.values for trial in study.get_trials()] == [[0.2, 2]]
    assert second.take() is None


def test_a_beating_worker_keeps_its_trial(storage: optuna.storages.BaseStorage) -> None:
    study = new_study(storage)
    first, second = (Leases(study, storage, 1, SHORT) for _ in range(2))
    trial = first.take()
    assert trial is not None
    with first.beating(trial):
        for _ in range(10):
            assert second.put_back_dead(study.get_trials()) == 0
            time.sleep(0.06)
    first.release()
    assert study.trials[0].state is optuna.trial.TrialState.WAITING
    assert study.trials[0].system_attrs[OWNER]["attempt"] == 0


def test_a_configuration_that_kills_its_workers_has_failed(
    storage: optuna.storages.BaseStorage,
) -> None:
    study = new_study(storage)
    for _ in range(SHORT.attempts):
        assert Leases(study, storage, 1, SHORT).take() is not None
    assert Leases(study, storage, 1, SHORT).take() is None
    (row,) = rows_of(study)
    assert row.state == "failed"
    assert row.reason is not None
    assert row.reason.startswith("2 times; the last time its worker")
    assert "was silent for" in row.reason


def test_what_failed_for_no_fault_of_its_own_is_tried_again_by_the_next_command(
    storage: optuna.storages.BaseStorage,
) -> None:
    study = new_study(storage)
    first = Leases(study, storage, 1, SHORT)
    for _ in range(2 * SHORT.attempts):  # That it kills nobody is no attempt.
        first.put_back_set_aside()
        trial = first.take()
        assert trial is not None
        assert rows_of(study)[0].state == "running"
        width = trial.suggest_float("width", 0, 1)
        row = Row(0, "failed", "export", trial.params, reason="no board answers")
        assert first.finish(trial, row, None)
        time.sleep(2 * SHORT.grace_seconds)
        assert Leases(study, storage, 1, SHORT).take() is None, "not again in this command"
        (kept,) = rows_of(study)
        assert (kept.state, kept.stage, kept.reason) == ("failed", "export", "no board answers")
    second = Leases(study, storage, 1, SHORT)
    second.put_back_set_aside()
    again = second.take()
    assert again is not None
    assert (again.number, again.suggest_float("width", 0, 1)) == (0, width)
    assert second.finish(again, Row(0, "done", "measure", again.params), [0.1, 1])
    second.put_back_set_aside()
    assert second.take() is None
    assert [(row.number, row.state) for row in rows_of(study)] == [(0, "done")]
    assert [trial.state for trial in study.get_trials()] == [COMPLETE]


def test_a_choice_that_another_worker_stored_first_is_the_configuration(
    storage: optuna.storages.BaseStorage,
) -> None:
    study = new_study(storage)
    leases = Leases(study, storage, 1, SHORT)
    for _ in range(2 * SHORT.attempts):  # That somebody was late is no attempt.
        trial = leases.take()
        assert trial is not None
        kind = optuna.distributions.IntDistribution(1, 10**9)
        storage.set_trial_param(trial._trial_id, "depth", 7, kind)
        depth = trial.suggest_int("depth", 1, 10**9)
        row = Row(trial.number, "done", "measure", {"depth": depth})
        if leases.finish(trial, row, [0.1, 1]):
            break
    assert leases.take() is None
    (ended,) = study.get_trials()
    assert ended.params == rows_of(study)[0].parameters == {"depth": 7}


def test_trials_too_many_wait_for_a_longer_search(storage: optuna.storages.BaseStorage) -> None:
    study = new_study(storage)
    study.ask()  # A colleague was faster between the look and the question.
    leases = Leases(study, storage, 1, SHORT)
    assert leases._ask() is None
    assert [trial.state.name for trial in study.get_trials()] == ["RUNNING", "WAITING"]
    assert len(rows_of(study)) == 1
    work(Leases(study, storage, 3, SHORT))
    assert [trial.state for trial in study.get_trials()] == [COMPLETE] * 3


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:secret@127.0.0.1:1/db", "Connection refused"),
        ("postgresql://me:secret@host.invalid/db", "host.invalid"),
        ("mysql+nothere://me:secret@127.0.0.1/db", "install the driver"),
        ("grpc://127.0.0.1", "expected grpc://HOST:PORT"),
        ("no url with a secret", "expected the URL of a storage"),
        ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
    ],
)
def test_what_is_no_storage_is_refused_at_once_without_its_password(
    url: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(TinsmithError) as caught:
        open_storage(url, tmp_path)
    message = str(caught.value)
    assert words in message
    assert "secret" not in message
    assert "\n" not in message


def test_a_journal_and_grpc_are_storages_too(tmp_path: Path) -> None:
    journal = open_storage(f"journal:{tmp_path / 'journal.log'}", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database = open_storage(None, tmp_path)
    from optuna.storages._grpc.server import make_server

    server = make_server(database, "127.0.0.1", port)
    server.start()
    try:
        proxy = open_storage(f"grpc://127.0.0.1:{port}", tmp_path)
        for storage in (journal, proxy):
            study = new_study(storage)
            assert Leases(study, storage, 2, SHORT).take() is not None  # And it dies.
            work(Leases(study, storage, 2, SHORT))
            assert [row.state for row in rows_of(study)] == ["done", "done"]
        close_storage(proxy)
    finally:
        server.stop(None).wait()
        close_storage(database)


@pytest.mark.slow
def test_workers_that_die_are_replaced_and_one_that_takes_memory_is_ended(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    with study_of(None, tmp_path) as study:
        search = Search(
            None, tmp_path, study.study_name, 8, simulated.build_deadly, (tmp_path,),
            Patience(attempts=2),
        )  # fmt: skip
        run_workers(
            search, 2, memory_bytes=1_000_000_000, progress=lambda rows: seen.append(len(rows))
        )
        rows = rows_of(study)
    assert [row.number for row in rows] == list(range(8))
    failed = {row.number: row.reason or "" for row in rows if row.state == "failed"}
    assert failed.keys() == {1, 3, 4}
    assert failed[1].startswith("2 times; the last time its worker")
    assert failed[3] == "ValueError: a network that cannot be built"
    assert "bytes of memory, of at most 500000000" in failed[4]
    assert seen[-1] == 8
    assert "exit status -9; starts another" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "number"), [(1, "INT"), (1, "TERM"), (2, "INT"), (2, "KILL")])
def test_whoever_stops_gives_the_trials_back_at_once(
    workers: int, number: str, tmp_path: Path
) -> None:
    command = [sys.executable, simulated.__file__, "", str(tmp_path), "1000", str(workers), "log"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        log, end = tmp_path / "log", time.monotonic() + 60
        while not log.exists() or len(log.read_text().splitlines()) < 6:
            assert time.monotonic() < end
            time.sleep(0.05)
        if number == "INT":
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(20) == 130
        elif number == "TERM":
            process.terminate()
            time.sleep(0.002)
            process.terminate()  # It is on its way out: the second one changes nothing.
            assert process.wait(20) == 130
        else:
            process.kill()  # Its workers notice.
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    with study_of(None, tmp_path) as study:
        # One that was being taken in this moment has nobody's name on it yet, and nothing done.
        running = [trial for trial in study.get_trials() if trial.state.name == "RUNNING"]
        assert {getattr(owner_of(trial), "lease", None) for trial in running} <= {None}
        assert len(running) <= workers


def test_a_worker_that_cannot_begin_ends_the_search(tmp_path: Path) -> None:
    with study_of(None, tmp_path) as study:
        search = Search(None, tmp_path, study.study_name, 2, simulated.build, ("too few",))
        with pytest.raises(SearchError, match="missing 1 required positional argument"):
            run_workers(search, 2)


@pytest.mark.slow
def test_the_dashboard_shows_the_study(tmp_path: Path) -> None:
    arguments = (tmp_path / "log", 0.0)
    with study_of(None, tmp_path) as study:
        run_workers(Search(None, tmp_path, study.study_name, 3, simulated.build, arguments))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    command = [str(program), f"sqlite:///{tmp_path / 'study.db'}", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            studies = asked(f"http://127.0.0.1:{port}/api/studies")
            assert '"simulated"' in studies
            trials = json.loads(asked(f"http://127.0.0.1:{port}/api/studies/1"))["trials"]
            assert [trial["state"] for trial in trials] == ["Complete"] * 3
            assert "<html" in asked(f"http://127.0.0.1:{port}/dashboard").lower()
        finally:
            process.terminate()


def asked(url: str) -> str:
    """What a server answers, which may still be starting."""
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
        assert time.monotonic() < end
        time.sleep(0.1)
