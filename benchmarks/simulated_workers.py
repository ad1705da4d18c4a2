"""Simulated workers of a search at a real PostgreSQL: how many trials they do, and its load.

Each worker is a process that takes trials with the real leases and stores a real row five times a
trial; in place of the training it sleeps for a second.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
import psycopg

from postgres import Server
from tinsmith_search.leases import Leases, Patience
from tinsmith_search.processes import stat_fields
from tinsmith_search.rows import Row
from tinsmith_search.storage import ROW, open_storage

TRIAL_SECONDS = 1.0
_STAGES = ("check", "short 3", "ptq", "full", "export")
_SIZES = (100, 300, 1000)
_FORK = multiprocessing.get_context("fork")
_METRICS = {"accuracy": 0.991, "size_bytes": 15872.0, "arena_bytes": 61440.0, "macs": 1.2e6}
_INTERVALS = {"accuracy": (0.989, 0.993)}


@dataclass(frozen=True)
class Counters:
    """What a server has done so far.

    Attributes:
        queries: as `pg_stat_statements` counts them.
        commits: of the database.
        rows: read by the queries.
        cpu_seconds: of all its processes.
    """

    queries: float
    commits: float
    rows: float
    cpu_seconds: float

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(*(a - b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[float, ...]:
        """All, in the order of their names above."""
        return self.queries, self.commits, self.rows, self.cpu_seconds


@dataclass(frozen=True)
class Load:
    """What a number of workers did.

    Attributes:
        workers: how many.
        trials_s: trials a second, of all.
        take_ms: to take a trial: of each trial.
        store_ms: to store five rows.
        finish_ms: to end a trial.
        server: what the server did for one trial.
        client_cpu_ms: of the workers, and of the proxy, for one trial.
        connections: to the server.
        others_cores: how many cores other programs used meanwhile.
    """

    workers: int
    trials_s: float
    take_ms: list[float]
    store_ms: list[float]
    finish_ms: list[float]
    server: Counters
    client_cpu_ms: float
    connections: int
    others_cores: float


def counters(server: Server) -> Counters:
    """Asks the server what it has done."""
    with psycopg.connect(server.url()) as connection:
        queries, rows = one_row(
            connection, "SELECT sum(calls)::float, sum(rows)::float FROM pg_stat_statements"
        )
        (commits,) = one_row(connection, "SELECT sum(xact_commit)::float FROM pg_stat_database")
    return Counters(queries, commits, rows, server_cpu_seconds(server))


def one_row(connection: psycopg.Connection[Any], query: str) -> tuple[float, ...]:
    """Gives the only row of an answer."""
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)


def server_cpu_seconds(server: Server) -> float:
    """Adds up what the server's first process, its ended and its living children have used."""
    first = (server.folder / "data" / "postmaster.pid").read_text().split()[0]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat_fields(stat)
        if stat.parent.name == first:
            ticks += sum(map(int, fields[11:15]))
        elif fields[1:2] == [first]:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def new_study(url: str, name: str) -> None:
    """Makes a study, and closes all connections: the workers are forked after that."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with joined(url, name, make=True):
        pass


@contextmanager
def joined(url: str, name: str, sampler: Any = None, make: bool = False) -> Iterator[Leases]:
    """Gives a worker's leases on a study without an end."""
    storage = open_storage(url, Path())
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=sampler or optuna.samplers.RandomSampler(),
        directions=["maximize", "minimize"],
        load_if_exists=not make,
    )
    with closing(Leases(study, storage, 1_000_000, Patience())) as leases:
        yield leases


def one_trial(leases: Leases, sleep: float) -> tuple[float, float, float]:
    """Takes a trial, stores its rows, ends it; gives the milliseconds of each."""
    start = time.perf_counter()
    trial = leases.take()
    assert trial is not None
    taken = time.perf_counter()
    for index in range(6):
        trial.suggest_int(f"width {index}", 4, 64)
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_categorical("recipe", ["ptq", "qat", "auto"])
    row = Row(trial.number, "done", "", trial.params, _METRICS, _INTERVALS, worker="load")
    for _ in _STAGES:
        trial.set_user_attr(ROW, row.to_json())
    stored = time.perf_counter()
    time.sleep(sleep)
    slept = time.perf_counter()
    leases.finish(trial, row, [np.random.default_rng().random(), float(trial.params["width 0"])])
    ended = time.perf_counter()
    return 1e3 * (taken - start), 1e3 * (stored - taken), 1e3 * (ended - slept)


def worker(url: str, name: str, start: Any, end: Any, line: Any) -> None:
    """A worker's process: works from the start until the end, then says how long all took."""
    with joined(url, name) as leases:
        start.wait()
        # They do not all ask at once.
        time.sleep(np.random.default_rng().random() * TRIAL_SECONDS)
        cpu, times = time.process_time(), []
        while not end.is_set():
            times.append(one_trial(leases, TRIAL_SECONDS))
        line.send((times, time.process_time() - cpu))


def load(server: Server, url: str, workers: int, seconds: float, proxy: int | None) -> Load:
    """Lets workers work for so many seconds.

    Args:
        server: where the study lies.
        url: how the workers reach it.
        workers: how many.
        seconds: how long.
        proxy: the process of the proxy, if they reach it by one.
    """
    name = f"{workers} {url}"
    new_study(server.url(), name)
    start, end = _FORK.Barrier(workers + 1), _FORK.Event()
    lines, processes = [], []
    for _ in range(workers):
        ours, theirs = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=worker, args=(url, name, start, end, theirs))
        process.start()
        lines.append(ours)
        processes.append(process)
    start.wait()
    before, began, used = counters(server), time.monotonic(), cpu_of(proxy)
    busy = busy_seconds()
    time.sleep(seconds)
    with psycopg.connect(server.url()) as connection:
        (connections,) = one_row(
            connection,
            "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'",
        )
    end.set()
    found = [line.recv() for line in lines]
    done, lasted = counters(server) - before, time.monotonic() - began
    used, busy = cpu_of(proxy) - used, busy_seconds() - busy
    for process in processes:
        process.join()
    times = np.array([row for rows, _ in found for row in rows])
    count, cpu = len(times), used + sum(spent for _, spent in found)
    each = Counters(*(value / count for value in done.values()))
    take, store, finish = times.T.tolist()
    others = max(0.0, busy - cpu - done.cpu_seconds) / lasted
    each_ms = 1e3 * cpu / count
    return Load(
        workers, count / lasted, take, store, finish, each, each_ms, int(connections), others
    )


def busy_seconds() -> float:
    """Gives how long this machine's cores have worked, all together."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


def cpu_of(process: int | None) -> float:
    """Gives the CPU seconds of a process; 0 for none."""
    if process is None:
        return 0.0
    fields = stat_fields(Path(f"/proc/{process}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def grpc_proxy(url: str) -> Iterator[tuple[str, int]]:
    """Runs Optuna's gRPC proxy before the server; gives its URL and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def serve() -> None:
        storage = open_storage(url, Path())
        optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=port)

    process = _FORK.Process(target=serve)
    process.start()
    try:
        yield f"grpc://127.0.0.1:{port}", process.pid or 0
    finally:
        process.terminate()
        process.join()


def growth(server: Server) -> Iterator[tuple[int, float, float, float]]:
    """Measures what a trial costs, and to join, as the study grows.

    Yields:
        The trials in the study; milliseconds to take and end one that is chosen at random;
        milliseconds of a whole one that TPE chooses; seconds to join.
    """
    name = "growth"
    new_study(server.url(), name)
    # As tinsmith_search has it.
    tpe = optuna.samplers.TPESampler(seed=1, multivariate=True, group=True, constant_liar=True)
    with joined(server.url(), name) as leases:
        one_trial(leases, 0)
        (pattern,) = leases.study.trials
        for size in _SIZES:
            count = size - len(leases.study.get_trials(deepcopy=False))
            leases.study.add_trials([pattern] * count)
            with joined(server.url(), name) as random:
                start = time.perf_counter()
                random.study.get_trials(deepcopy=False)
                joining = time.perf_counter() - start
                plain = median(sum(one_trial(random, 0)[::2]) for _ in range(20))
            with joined(server.url(), name, tpe) as guided:
                all_of_it = median(sum(one_trial(guided, 0)) for _ in range(10))
            yield size, plain, all_of_it, joining


def beat(server: Server, times: int = 200) -> Counters:
    """Measures what one beat of a worker costs the server."""
    new_study(server.url(), "beats")
    with joined(server.url(), "beats") as leases:
        trial = leases.take()
        assert trial is not None
        before = counters(server)
        for count in range(times):
            leases._storage.set_trial_system_attr(trial._trial_id, "beat", count)
        spent = counters(server) - before
    return Counters(*(value / times for value in spent.values()))
