"""Compares two reports: what differs, and whether that is significant."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Estimate, Latency, Method, Report, Variant
from tinsmith_bench.stats.difference import (
    MEMORY_MARGIN,
    SIGNIFICANT,
    SPEED_MARGIN,
    are_apart,
    are_starts_apart,
)
from tinsmith_bench.stats.intervals import unpaired_ratio
from tinsmith_report.statistics import mcnemar_p
from tinsmith_report.tables import TextTable

# Shown even where they did not move.
_ALWAYS = ("latency_us_p50", "accuracy", "mae", "map50", "size_bytes")

# A machine is faster one day than another. What has not changed between two reports says by how
# much; of three, two outvote one that did change for a reason that no report knows.
_MIN_UNCHANGED = 3

Moved = tuple[float, float, Estimate, bool]
"""Old, new, their ratio, and whether the difference is real."""


@dataclass(frozen=True)
class Move:
    """One number of one variant, in an old report and in a new one.

    Attributes:
        variant: the variant's id, the same in both.
        metric: its name: see `METRICS`.
        old: the value in the old report.
        new: the value in the new one.
        ratio: new over old, with its interval at 95 % where there is one; of latencies, the
            machine's own drift between the reports is taken out where enough has not changed.
        is_real: whether it moved more than chance explains.
    """

    variant: str
    metric: str
    old: float
    new: float
    ratio: Estimate
    is_real: bool


@dataclass(frozen=True)
class Metric:
    """A number that can be compared.

    Attributes:
        unit: for a person.
        is_timing: whether it says something of the machine too.
        more_is_better: whether it is better when it grows.
        moved: takes both reports and both variants; `None` where one of them lacks the number.
    """

    unit: str
    is_timing: bool
    more_is_better: bool
    moved: Callable[["_Pair"], Moved | None]


@dataclass(frozen=True)
class _Pair:
    """The same variant in two reports, and all others that have not changed, old and new."""

    old: Variant
    new: Variant
    unchanged: Sequence[tuple[Variant, Variant]]
    methods: tuple[Method, Method]
    is_same_data: bool


def moves(old: Report, new: Report) -> tuple[list[Move], list[str]]:
    """Compares two reports, variant by variant, number by number.

    Args:
        old: the baseline.
        new: what is held against it.

    Returns:
        What could be compared, and in words what could not.
    """
    notes = list(_obstacles(old, new))
    same_threads = old.method.threads[0] == new.method.threads[0]
    same_pace = same_threads and old.machine.is_same(new.machine)
    same_data = old.dataset.sha256 == new.dataset.sha256
    steady = _unchanged(old, new)
    found = []
    for before, variant in _pairs(old, new):
        others = [pair for pair in steady if pair[1] is not variant]
        unchanged = others if len(others) >= _MIN_UNCHANGED else []
        pair = _Pair(before, variant, unchanged, (old.method, new.method), same_data)
        for name, metric in METRICS.items():
            moved = metric.moved(pair) if same_pace or not metric.is_timing else None
            if moved:
                found.append(Move(variant.id, name, *moved))
    return found, notes


def _pairs(old: Report, new: Report) -> list[tuple[Variant, Variant]]:
    before = {one.id: one for one in old.variants}
    return [(before[one.id], one) for one in new.variants if one.id in before]


def _unchanged(old: Report, new: Report) -> list[tuple[Variant, Variant]]:
    """What should take as long in both reports: the same software on the same bundle."""
    before, after = (
        (report.tinsmith, report.machine.python, report.method.threads[0]) for report in (old, new)
    )
    hashes = [{one.name: one.sha256 for one in report.bundles} for report in (old, new)]
    return [
        (its, mine)
        for its, mine in (_pairs(old, new) if before == after else [])
        if its.engine_version == mine.engine_version
        and mine.bundle in hashes[1]
        and hashes[0].get(its.bundle) == hashes[1][mine.bundle]
    ]


def _obstacles(old: Report, new: Report) -> Iterator[str]:
    if not old.machine.is_same(new.machine):
        yield (
            f"The reports are of two machines ({old.machine.summary()}; {new.machine.summary()}): "
            "their times and their memory are not compared."
        )
    elif old.machine.engines != new.machine.engines or old.machine.python != new.machine.python:
        engines = [
            f"{', '.join(report.machine.engines.values())}, Python {report.machine.python}"
            for report in (old, new)
        ]
        yield f"The software differs: {engines[0]} before, {engines[1]} now."
    if old.dataset.sha256 != new.dataset.sha256:
        yield (
            f"The reports are on two datasets ({old.dataset.name}, {new.dataset.name}, by their "
            "sha256): accuracy is not compared."
        )
    if old.method.threads[0] != new.method.threads[0]:
        yield (
            f"The threads differ ({old.method.threads[0]} before, {new.method.threads[0]} now): "
            "times and memory are not compared."
        )
    steady = _unchanged(old, new) if old.machine.is_same(new.machine) else []
    if len(steady) >= _MIN_UNCHANGED:
        drift = median(mine.speed.latency_us.p50 / its.speed.latency_us.p50 for its, mine in steady)
        if abs(drift - 1) > SPEED_MARGIN:
            yield (
                f"What has not changed takes {drift:.2f} times as long now: the machine does, or "
                "what all share. That is taken out of the ratios of latencies."
            )
    before, after = {one.id for one in old.variants}, {one.id for one in new.variants}
    for what, names in (("before", before - after), ("now", after - before)):
        if names:
            yield f"Only there {what}: {', '.join(sorted(names))}."


def _latency(way: str, quantile: str) -> Callable[[_Pair], Moved]:
    def latency(variant: Variant) -> Latency:
        return getattr(variant.speed, way)  # type: ignore[no-any-return]

    def rounds(variant: Variant) -> NDArray[np.float64]:
        return np.array(getattr(latency(variant), f"rounds_{quantile}"))

    def drift(others: Sequence[Variant], levels: Sequence[float]) -> NDArray[np.float64] | float:
        """How slow the machine was in each round, by those that have not changed."""
        relative = [rounds(one) / level for one, level in zip(others, levels, strict=True)]
        return np.median(relative, axis=0) if relative else 1.0

    def moved(pair: _Pair) -> Moved:
        before, after = pair.methods
        its, mine = (getattr(latency(one), quantile) for one in (pair.old, pair.new))
        old, new = [one for one, _ in pair.unchanged], [one for _, one in pair.unchanged]
        levels = [getattr(latency(one), quantile) for one in old]
        ratio = unpaired_ratio(
            rounds(pair.new) / drift(new, levels),
            rounds(pair.old) / drift(old, levels),
            (after.processes, before.processes),
            np.random.default_rng(after.seed),
        )
        # A run that was disturbed from end to end knows nothing of it; its fastest calls do.
        fastest = latency(pair.new).min / latency(pair.old).min
        if pair.unchanged:
            fastest /= median(latency(b).min / latency(a).min for a, b in pair.unchanged)
        faster = ratio.high < 1 - SPEED_MARGIN and fastest < 1
        slower = ratio.low > 1 + SPEED_MARGIN and fastest > 1
        return its, mine, ratio, faster or slower

    return moved


def _accuracy(pair: _Pair) -> Moved | None:
    its, mine = pair.old.accuracy, pair.new.accuracy
    if its is None or mine is None or not pair.is_same_data:
        return None
    lost, won = len(set(mine.wrong) - set(its.wrong)), len(set(its.wrong) - set(mine.wrong))
    old, new = its.top1.value, mine.top1.value
    return old, new, _exact(new, old), mcnemar_p(lost, won) < SIGNIFICANT


def _estimate(part: str, name: str) -> Callable[[_Pair], Moved | None]:
    """Compares an estimate whose interval is over the samples: `regression.mae` and the like."""

    def moved(pair: _Pair) -> Moved | None:
        parts = (getattr(one, part) for one in (pair.old, pair.new))
        old, new = (one and getattr(one, name) for one in parts)
        if not old or not new or not pair.is_same_data:
            return None
        return old.value, new.value, _exact(new.value, old.value), are_apart(old, new, 0)

    return moved


def _size(pair: _Pair) -> Moved:
    old, new = pair.old.size_bytes, pair.new.size_bytes
    return old, new, _exact(new, old), new != old


def _start(pair: _Pair) -> Moved | None:
    its, mine = pair.old.cold_start, pair.new.cold_start
    if not its or not mine:
        return None
    return _ranges(its.start_ms, mine.start_ms, are_starts_apart(mine, its))


def _memory(pair: _Pair) -> Moved | None:
    if not pair.old.cold_start or not pair.new.cold_start:
        return None
    its, mine = pair.old.cold_start.peak_rss_bytes, pair.new.cold_start.peak_rss_bytes
    return _ranges(its, mine, are_apart(mine, its, MEMORY_MARGIN))


def _ranges(old: Estimate, new: Estimate, is_real: bool) -> Moved:
    ratio = Estimate(new.value / old.value, new.low / old.high, new.high / old.low)
    return old.value, new.value, ratio, is_real


def moves_table(found: Sequence[Move], asked: Collection[str] = ()) -> TextTable:
    """A table of what moved, and besides of the numbers that are always of interest.

    Args:
        found: the numbers of both reports.
        asked: metrics of which every variant is shown too.
    """
    rows = []
    for move in found:
        if not move.is_real and move.metric not in (*_ALWAYS, *asked):
            continue
        metric = METRICS[move.metric]
        ratio = move.ratio
        change = f"{ratio.value:.3f}x [{ratio.low:.3f}, {ratio.high:.3f}]"
        scale = 1.0
        if metric.unit == "%":
            scale, change = 100.0, f"{100 * (move.new - move.old):+.2f} pp"
        word = ""
        if move.is_real:
            word = "better" if (move.new > move.old) == metric.more_is_better else "worse"
        name = f"{move.metric}{' in %' if metric.unit == '%' else ''}"
        values = (f"{scale * value:,.2f}".removesuffix(".00") for value in (move.old, move.new))
        rows.append((move.variant, name, *values, change, word))
    return TextTable(
        "What moved",
        ("variant", "what", "before", "now", "change\n[95 % interval]", "result"),
        tuple(rows),
        "Better or worse stands only where the change is more than chance explains: for times, the "
        "whole interval beyond 3 % and the fastest calls too; for accuracy, McNemar's p below "
        "0.05; for starts and memory, ranges that lie apart.",
    )


def _exact(new: float, old: float) -> Estimate:
    # From nothing to something is no ratio, but it is beyond each.
    ratio = new / old if old else 1.0 if new == old else inf
    return Estimate(ratio, ratio, ratio)


METRICS = {
    "latency_us_p50": Metric("µs", True, False, _latency("latency_us", "p50")),
    "latency_us_p90": Metric("µs", True, False, _latency("latency_us", "p90")),
    "engine_us_p50": Metric("µs", True, False, _latency("engine_us", "p50")),
    "engine_us_p90": Metric("µs", True, False, _latency("engine_us", "p90")),
    "accuracy": Metric("%", False, True, _accuracy),
    "agreement": Metric("%", False, True, _estimate("fidelity", "agreement")),
    "mae": Metric("", False, False, _estimate("regression", "mae")),
    "map50": Metric("%", False, True, _estimate("detection", "map50")),
    "map": Metric("%", False, True, _estimate("detection", "map")),
    "size_bytes": Metric("bytes", False, False, _size),
    "start_ms": Metric("ms", True, False, _start),
    "peak_rss_bytes": Metric("bytes", True, False, _memory),
}
