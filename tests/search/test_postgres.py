"""Several hosts at one PostgreSQL, which is restarted, while workers are killed."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hosts import Host, hosts
from search import simulated

import postgres
from tinsmith_search.errors import SearchError
from tinsmith_search.storage import open_storage, rows_of

TRIALS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    try:
        with postgres.serving() as running:
            yield running
    except postgres.MissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


class Worker:
    """A host's worker, which is started again by the same command."""

    def __init__(self, host: Host, url: str, folder: Path, trials: int) -> None:
        self.executions = folder / f"executions-{host.sees}"
        self.executions.touch()
        self.log = folder / f"log-{host.sees}"
        script = [sys.executable, simulated.__file__, url, str(folder), str(trials), "1"]
        self.command = [*host.prefix, *script, self.executions.name]
        self.start()

    def start(self) -> None:
        self.before = self.executions.stat().st_size
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def is_at_work(self) -> bool:
        return self.process.poll() is None and self.executions.stat().st_size > self.before

    def has_done_all(self) -> bool:
        """Whether all trials have ended; one that the server turned away is started again."""
        if self.process.poll() is None:
            return False
        if self.process.returncode:
            self.start()
            return False
        return True


def executions_in(folder: Path) -> list[tuple[int, float]]:
    """The trial and the mark of each execution."""
    files = sorted(folder.glob("executions-*"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [(int(number), float(mark)) for number, mark in map(str.split, lines)]


def work(workers: list[Worker], server: postgres.Server, folder: Path, seed: int) -> None:
    """Lets the workers work to the end; kills some and restarts the server meanwhile."""
    chance, begin = random.Random(seed), time.monotonic()
    # After how many executions what is done.
    faults = [(count, "kill") for count in (6, 12, 18, 30, 36, 44)]
    faults = sorted([*faults, (20, "fast"), (40, "immediate")])
    while not all(worker.has_done_all() for worker in workers):
        assert time.monotonic() - begin < 200, "the workers do not come to an end"
        time.sleep(chance.uniform(0, 0.1))
        at_work = [worker for worker in workers if worker.is_at_work()]
        if not faults or not at_work or len(executions_in(folder)) < faults[0][0]:
            continue
        _, fault = faults.pop(0)
        if fault == "kill":
            victim = chance.choice(at_work)
            victim.kill()
            victim.start()
        else:
            server.stop(fault)
            time.sleep(chance.uniform(0.2, 1.0))
            server.start()
    assert not faults


def require_each_once(study: optuna.Study, folder: Path, trials: int) -> None:
    """Every configuration has ended exactly once, none is lost, none is in the front twice."""
    ended = [trial for trial in study.get_trials() if trial.state.is_finished()]
    assert [trial.number for trial in ended] == list(range(trials))
    assert {trial.state for trial in ended} == {optuna.trial.TrialState.COMPLETE}
    configurations = [tuple(trial.params.values()) for trial in ended]
    assert len(set(configurations)) == trials
    rows = rows_of(study)
    assert [row.number for row in rows] == list(range(trials))
    executions = executions_in(folder)
    for row, trial in zip(rows, ended, strict=True):
        # Row, values and parameters are of one execution, and of one that there was.
        assert trial.values == [row.values["accuracy"], row.values["size_bytes"]]
        assert row.parameters == trial.params
        assert (row.number, row.values["accuracy"]) in executions
    front = [trial.number for trial in study.best_trials]
    assert len(front) == len(set(front)) > 0


def test_what_the_server_refuses_is_said_at_once(server: postgres.Server, tmp_path: Path) -> None:
    for url, words in (
        (server.url(password="wrong"), "password authentication failed"),
        (server.url(database="nothing"), 'database "nothing" does not exist'),
    ):
        with pytest.raises(SearchError) as caught:
            open_storage(url, tmp_path)
        assert words in str(caught.value)
        assert "wrong" not in str(caught.value)
        assert postgres.PASSWORD not in str(caught.value)


@pytest.mark.slow
def test_killed_workers_and_a_restarted_server_lose_nothing(
    server: postgres.Server, tmp_path: Path
) -> None:
    with hosts(4) as machines:
        urls = [server.url(host.sees) for host in machines]
        workers = [
            Worker(host, url, tmp_path, TRIALS) for host, url in zip(machines, urls, strict=True)
        ]
        try:
            work(workers, server, tmp_path, int(os.environ.get("TINSMITH_SEED", "1")))
        finally:
            for worker in workers:
                worker.kill()
        with simulated.study_of(server.url(), tmp_path) as study:
            require_each_once(study, tmp_path, TRIALS)
            count, where = len(executions_in(tmp_path)), machines[0].prefix or "processes"
            print(f"{count} executions of {TRIALS} configurations on hosts by {where[:2]}")
            assert count > TRIALS, "no worker was killed in the middle of a trial"
            # The same command with more trials goes on from there, with exactly as many.
            again = Worker(machines[0], urls[0], tmp_path, TRIALS + 4)
            assert again.process.wait(60) == 0
            require_each_once(study, tmp_path, TRIALS + 4)
