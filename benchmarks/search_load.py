"""What a search's storage bears: simulated workers at a real PostgreSQL, for docs/search.md.

    python benchmarks/search_load.py [--workers 1,2,4,8,16,32,64] [--seconds 20] [--page PATH]

It starts a server of its own (Debian's package `postgresql`). The server, its workers and the gRPC
proxy share this machine.
"""

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import optuna
import psycopg

from pages import table_head, write_between
from postgres import Server, serving
from simulated_workers import TRIAL_SECONDS, Counters, Load, beat, growth, grpc_proxy, load
from tinsmith_runtime.cpu import read_cpu
from tinsmith_search.leases import Patience

PAGE = Path(__file__).parents[1] / "docs" / "search.md"
SHORT_OF_ALONE = 0.9
OTHERS = 0.2
# What the calculation supposes: a trial that trains in 10 minutes, of which one in three is
# measured, for 30 s; a beat each 30 s, as by default.
REAL_TRIAL_SECONDS, MEASURED, MEASURE_SECONDS = 600, 1 / 3, 30


def table_of(loads: Sequence[Load]) -> list[str]:
    """Gives a row of the table for each load."""
    columns = ("workers", "trials/s", "of the ideal", "take ms, p50", "p95", "store ms", "end ms")
    costs = ("queries a trial", "queries/s", "rows read a trial", "server CPU ms a trial")
    lines = table_head([*columns, *costs, "worker CPU ms a trial", "connections"], first=0)
    for one in loads:
        # A trial that costs nothing but its sleep would be the ideal.
        ideal = one.workers / TRIAL_SECONDS
        cells = [
            f"{one.workers}",
            f"{one.trials_s:.1f}",
            f"{one.trials_s / ideal:.0%}",
            f"{median(one.take_ms):.0f}",
            f"{quantiles(one.take_ms, n=20)[-1]:.0f}",
            f"{median(one.store_ms):.0f}",
            f"{median(one.finish_ms):.0f}",
            f"{one.server.queries:.0f}",
            f"{one.server.queries * one.trials_s:.0f}",
            f"{one.server.rows:.0f}",
            f"{1e3 * one.server.cpu_seconds:.1f}",
            f"{one.client_cpu_ms:.0f}",
            f"{one.connections}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def growth_table(server: Server) -> list[str]:
    """Gives a row for each size of a study."""
    head = ["trials in the study", "random: take + end, ms", "TPE: a whole trial, ms", "join, s"]
    rows = [
        f"| {size} | {plain:.0f} | {guided:.0f} | {joining:.1f} |"
        for size, plain, guided, joining in growth(server)
    ]
    return table_head(head, first=0) + rows


def line_through(loads: Sequence[Load], values: Sequence[float]) -> tuple[float, float]:
    """Gives what a trial costs, and what each worker adds to that, by least squares."""
    slope, base = np.polyfit([one.workers for one in loads], values, 1)
    return max(float(base), 0.0), max(float(slope), 0.0)


def bend(loads: Sequence[Load]) -> str:
    """Says what the cores are enough for, and where workers begin to wait for each other."""
    cores, last = len(os.sched_getaffinity(0)), loads[-1]
    both = last.server.cpu_seconds + last.client_cpu_ms / 1e3
    told = (
        f"With {last.workers} workers a trial costs {1e3 * both:.0f} ms of CPU, so this machine's "
        f"{cores} cores are enough for {cores / both:.0f} trials a second, and a core of a server "
        f"that is a machine of its own for {1 / last.server.cpu_seconds:.0f}."
    )
    alone = loads[0].trials_s / loads[0].workers
    for one in loads:
        if one.trials_s < SHORT_OF_ALONE * alone * one.workers:
            return f"{told} It bends at {one.workers} workers: the cores have no time left."
    return f"{told} It does not bend up to {last.workers} workers."


def calculated(direct: Sequence[Load], proxied: Sequence[Load], beats: Counters) -> list[str]:
    """Calculates 1,000 workers and 100 boards from what was measured."""
    workers, trials_s = 1000, 1000 / REAL_TRIAL_SECONDS
    beats_s = workers / Patience().beat_seconds
    lines = table_head(
        ["1,000 workers", "connections", "queries/s", "server, cores", "workers, CPU ms a trial"]
    )
    for name, loads in (("each at the server", direct), ("behind one gRPC proxy", proxied)):
        queries, more_queries = line_through(loads, [one.server.queries for one in loads])
        cpu, more_cpu = line_through(loads, [one.server.cpu_seconds for one in loads])
        client, more_client = line_through(loads, [one.client_cpu_ms for one in loads])
        asked = trials_s * (queries + workers * more_queries) + beats_s * beats.queries
        used = trials_s * (cpu + workers * more_cpu) + beats_s * beats.cpu_seconds
        connections = workers if name.startswith("each") else loads[-1].connections
        spent = client + workers * more_client
        lines.append(f"| {name} | {connections} | {asked:.0f} | {used:.2f} | {spent:.0f} |")
    boards = trials_s * MEASURED * MEASURE_SECONDS
    feeds = 100 / MEASURE_SECONDS / MEASURED * REAL_TRIAL_SECONDS
    return [
        *lines,
        "",
        f"Supposed: a trial lasts {REAL_TRIAL_SECONDS / 60:.0f} minutes, so {trials_s:.1f} end in "
        f"a second; one in {1 / MEASURED:.0f} is measured on a board, for {MEASURE_SECONDS} s; a "
        f"worker beats every {Patience().beat_seconds:.0f} s, for {beats.queries:.1f} queries. "
        f"Then {boards:.0f} boards are busy, and 100 boards are enough for {feeds:,.0f} workers.",
    ]


def measured(server: Server, counts: Sequence[int], seconds: float) -> str:
    """Measures all; gives the part of the page."""
    direct = [load(server, server.url(), count, seconds, None) for count in counts]
    with grpc_proxy(server.url()) as (url, process):
        proxied = [load(server, url, count, seconds, process) for count in counts]
    version = psycopg.connect(server.url()).info.server_version // 10_000
    where = f"{read_cpu()}, {len(os.sched_getaffinity(0))} cores, PostgreSQL {version}"
    told = f"Measured by `benchmarks/search_load.py` on {where}, Optuna {optuna.__version__}."
    others = median(one.others_cores for one in (*direct, *proxied))
    shared = f"Server, workers and proxy share the cores, of which other programs used {others:.1f}"
    hint = "; so the times are too long, and it bends too early" if others > OTHERS else ""
    parts = [
        [told, f"{shared}{hint}."],
        ["Each worker at the server:"],
        [*table_of(direct), "", bend(direct)],
        ["Each worker at one gRPC proxy, whose CPU is counted with the workers':"],
        [*table_of(proxied), "", bend(proxied)],
        ["One worker, as the study grows:"],
        growth_table(server),
        calculated(direct, proxied, beat(server)),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--workers", default="1,2,4,8,16,32,64", help="how many, by commas")
    parser.add_argument("--seconds", type=float, default=20, help="for each number of workers")
    parser.add_argument("--page", type=Path, default=PAGE)
    words = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with serving() as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
        counts = [int(word) for word in words.workers.split(",")]
        write_between(words.page, "search load", measured(server, counts, words.seconds))


if __name__ == "__main__":
    main()
