"""What is called a difference: not chance, and not what a noisy machine does."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Never

import numpy as np
import pytest
from narrow import some
from numpy.typing import NDArray
from spec import Spec
from timed import method, timed_target

from tinsmith_bench import Options, bench
from tinsmith_bench.gates.compare import moves
from tinsmith_bench.gates.gate import failures, parse_gate
from tinsmith_bench.report_data import Comparison, Estimate, Method, Report, SpeedRatio, Variant
from tinsmith_bench.stats.difference import are_apart, differences, is_faster, is_slower
from tinsmith_bench.stats.results import Measured, compare
from tinsmith_bench.test_set import Samples
from tinsmith_bench.timing.timings import Timings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def ratio(value: float, low: float, high: float, fastest: float) -> SpeedRatio:
    interval = Estimate(value, low, high)
    return SpeedRatio(1, interval, interval, fastest)


@pytest.mark.parametrize(
    ("speed", "faster", "slower"),
    [
        (ratio(0.5, 0.49, 0.51, 0.5), True, False),
        (ratio(2.0, 1.9, 2.1, 2.0), False, True),
        (ratio(0.98, 0.975, 0.985, 0.98), False, False),  # real, but less than 3 %
        (ratio(0.9, 0.8, 1.01, 0.9), False, False),  # chance
        (ratio(0.9, 0.88, 0.92, 1.01), False, False),  # the fastest calls deny it
        (ratio(1.2, 1.1, 1.3, 0.99), False, False),
    ],
)
def test_a_difference_in_speed_is_more_than_noise(
    speed: SpeedRatio, faster: bool, slower: bool
) -> None:
    assert (is_faster(speed), is_slower(speed)) == (faster, slower)
    assert (is_slower(speed.inverse()), is_faster(speed.inverse())) == (faster, slower)


def test_ranges_are_apart_by_a_margin() -> None:
    low, high = Estimate(100, 99, 101), Estimate(104, 103, 105)
    assert are_apart(low, high, 0.01)
    assert are_apart(high, low, 0.01)
    assert not are_apart(low, high, 0.02)
    assert not are_apart(low, low, 0)


def noisy(
    rng: np.random.Generator,
    processes: int,
    rounds: int,
    level_ns: float,
    load: NDArray[np.float64],
) -> list[NDArray[np.int64]]:
    """Timings as a shared machine gives them: processes that differ, tails, slow spells."""
    blocks = []
    for process in range(processes):
        place = rng.normal(0, 0.008)
        for number in range(rounds):
            spell = load[process * rounds + number]
            calls = level_ns * spell * np.exp(place + rng.normal(0.02, 0.02, 40).clip(0))
            calls[rng.random(40) < 0.02] *= 20
            blocks.append(calls.astype(np.int64))
    return blocks


def open_nothing(threads: int) -> Never:
    raise AssertionError("nothing is run here")


def measured(
    name: str, rng: np.random.Generator, chosen: Method, level_ns: float, load: NDArray[np.float64]
) -> Measured:
    sizes = (chosen.processes, chosen.rounds_per_process)
    timings = Timings(
        latency=noisy(rng, *sizes, level_ns, load), engine=noisy(rng, *sizes, level_ns, load)
    )
    outputs = np.eye(3, dtype=np.float32)
    return Measured(timed_target(name, open_nothing), "Engine 1", outputs, (timings,), None)


def compared(seed: int, factor: float, processes: int) -> SpeedRatio:
    """The speed of a variant against another that is `factor` times as fast, on a busy machine."""
    rng = np.random.default_rng(seed)
    chosen = method(rounds=processes * 6, processes=processes)
    load = rng.choice([1.0, 1.4, 2.0], chosen.rounds, p=[0.6, 0.3, 0.1])
    one, other = (
        measured(name, rng, chosen, level, load)
        for name, level in (("one", 80_000 * factor), ("other", 80_000))
    )
    samples = Samples("s", "0" * 64, np.zeros((3, 1), np.float32), np.arange(3))
    return compare(one, other, samples, chosen, classes=True).speed


@pytest.mark.parametrize("processes", [8, 20])
def test_a_model_against_itself_is_no_difference_ten_times_of_ten(processes: int) -> None:
    for seed in range(10):
        for pair in range(4):  # as many as a bundle has variants
            speed = compared(1000 * pair + seed, 1, processes)
            assert not is_faster(speed)
            assert not is_slower(speed)


@pytest.mark.parametrize("processes", [8, 20])
def test_a_real_difference_is_found_under_the_same_noise(processes: int) -> None:
    for seed in range(10):
        assert is_slower(compared(seed, 1.15, processes))
        assert is_faster(compared(seed, 1 / 1.15, processes))
        assert not is_slower(compared(seed, 1.01, processes))


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`benchmarks/trust.py`, for this process and those that it starts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS), prepend=os.pathsep)
    import trust

    yield trust
    del sys.modules["trust"]


@pytest.mark.slow
def test_a_real_engine_slowed_by_15_percent_is_caught_and_by_1_is_not(
    trust: ModuleType, tiny: Path, tiny_samples: Path
) -> None:
    """All are timed in the same rounds, so that a busy machine does not decide the test.

    A spell that slowed some variants and not others widens an interval all the same: then it is
    measured again.
    """
    factors = {"as-it-is": 1.0, "by-1": 1.01, "by-15": 1.15}
    gate = parse_gate("latency_us_p50 > 1.10x")
    caught = {}
    for _ in range(4):
        report = bench(
            [tiny],
            data=tiny_samples,
            options=Options(rounds=48, processes=6, cold_starts=1, batches=(1,)),
            competitors=[trust.slowed(tiny, factor, name) for name, factor in factors.items()],
        )
        *real, plain, by_1, by_15 = report.variants

        def beside(
            competitor: Variant, report: Report = report, real: list[Variant] = real
        ) -> Report:
            return replace(report, variants=(*real, replace(competitor, id="engine")))

        for competitor in (by_1, by_15):
            found, _ = moves(beside(plain), beside(competitor))
            slower = is_slower(report.compare(competitor.id, plain.id).speed)
            caught[competitor.id] = [failed.variant for failed in failures([gate], found)], slower
        assert caught["by-1"] == ([], False)
        assert by_15.accuracy == by_1.accuracy
        if all(caught["by-15"]):
            break
    assert caught["by-15"] == (["engine"], True), found


def test_differences_are_put_in_words(make_report: Callable[..., Report], spec: type[Spec]) -> None:
    report = make_report(
        spec("litert", "float", 100, size_bytes=140_000, memory=60e6, start_ms=300),
        spec("litert", "int8", 50, correct=9_900),
    )
    float_, int8 = report.variants
    found = differences(int8, float_, report.compare(int8.id, float_.id))
    assert [(difference.metric, difference.better) for difference in found] == [
        *(("latency", True), ("accuracy", False), ("size", True)),
        *(("memory", True), ("start", True)),
    ]
    assert differences(int8, int8, replace_ratio(report)) == ()
    quick = replace(int8, cold_start=replace(some(int8.cold_start), runs=3))
    found = differences(quick, float_, report.compare(int8.id, float_.id))
    assert "start" not in {difference.metric for difference in found}


def replace_ratio(report: Report) -> Comparison:
    (pair,) = report.comparisons
    return replace(pair, speeds=(ratio(1.0, 0.99, 1.01, 1.0),), lost=0, won=0, mcnemar_p=1.0)
