import gc
import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from timed import method, timed_target

from tinsmith_bench.report_data import Method
from tinsmith_bench.target import ModelRunner, Target
from tinsmith_bench.timing import latency
from tinsmith_bench.timing.latency import (
    BATCH_CALLS,
    LEAD_CALLS,
    MAX_CALLS,
    MIN_CALLS,
    PACED_CALLS,
    WARM_UP_BLOCKS,
    clock,
    interleave,
    measure,
    measure_rounds,
    run_process,
    summarize,
    time_calls,
    time_paced,
    warm_up,
)
from tinsmith_bench.timing.timings import dump_timings, parse_timings
from tinsmith_runtime import TinsmithError


class Clock:
    """A clock that moves only when a variant works or sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(latency, "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    def call(self, duration_ns: int | Callable[[], int]) -> Callable[[object], None]:
        def call(_: object) -> None:
            self.now += duration_ns() if callable(duration_ns) else duration_ns

        return call


class FakeRunner:
    """Takes `engine_ns` in the engine, as long again around it, and remembers what it saw."""

    engine_version = "Fake 1"

    def __init__(self, clock: Clock, engine_ns: int, log: list[Any] | None = None) -> None:
        self._clock, self._ns, self._log = clock, engine_ns, log

    def encode(self, inputs: NDArray[np.uint8]) -> NDArray[np.int8]:
        return inputs.astype(np.int8)

    def run(self, encoded: NDArray[np.int8]) -> None:
        self._clock.now += self._ns * len(encoded)

    def predict(self, inputs: NDArray[np.uint8]) -> None:
        self._clock.now += 2 * self._ns * len(inputs)

    def answer(self, sample: NDArray[np.uint8]) -> None:
        if self._log is not None:
            self._log.append(sample.copy())
        self._clock.now += 2 * self._ns

    def close(self) -> None:
        if self._log is not None:
            self._log.append("closed")


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


INPUTS = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32))
def test_every_round_holds_every_variant_once(count: int, rounds: int, seed: int) -> None:
    names = [f"v{i}" for i in range(count)]
    turns = list(interleave(names, rounds, np.random.default_rng(seed)))
    assert [number for number, _ in turns] == sorted(number for number, _ in turns)
    assert Counter(turns) == {(number, name): 1 for number in range(rounds) for name in names}


def test_the_order_changes_from_round_to_round_and_follows_the_seed() -> None:
    def turns(seed: int) -> list[tuple[int, str]]:
        return list(interleave("abcd", 50, np.random.default_rng(seed)))

    assert turns(0) == turns(0) != turns(1)
    orders = {tuple(name for _, name in turns(0)[i : i + 4]) for i in range(0, 200, 4)}
    assert len(orders) > 10
    followers = Counter(b for (_, a), (_, b) in pairwise(turns(0)) if a == "a")
    assert {"b", "c", "d"} <= followers.keys()


def test_percentiles_are_in_microseconds() -> None:
    found = summarize([np.arange(1, 51) * 1000, np.arange(51, 102) * 1000])
    assert (found.min, found.p50, found.p90, found.p99) == (1, 51, 91, 100)
    assert found.calls == 101
    assert found.percentiles == tuple(range(1, 102))
    assert found.rounds_p50 == (25.5, 76)
    assert found.rounds_p90 == (45.1, 96)


@given(st.lists(st.integers(1, 10**12), min_size=1))
def test_percentiles_are_in_order(nanoseconds: list[int]) -> None:
    found = summarize([np.array(nanoseconds)])
    assert found.min <= found.percentiles[1]
    assert list(found.percentiles) == sorted(found.percentiles)
    assert found.p50 <= found.p90 <= found.p99 <= max(nanoseconds) / 1e3


def test_calls_are_timed_with_the_collector_off_which_is_left_as_it_was() -> None:
    seen = []
    time_calls(lambda _: seen.append(gc.isenabled()), [0])
    assert seen == [False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_calls(lambda _: 1 / 0, [0])
    assert gc.isenabled()


def test_warm_up_ends_when_blocks_stop_getting_faster(ticks: Clock) -> None:
    durations = iter([1000, 800, 600, 599, 598])
    assert warm_up(ticks.call(lambda: next(durations)), [0]) == 600
    assert next(durations) == 598


def test_warm_up_ends_on_a_machine_that_never_settles(ticks: Clock) -> None:
    durations = iter([2**40 >> i for i in range(40)])
    assert warm_up(ticks.call(lambda: next(durations)), [0]) == 2**40 >> (WARM_UP_BLOCKS - 1)


def test_every_variant_gets_the_same_inputs_and_its_lead_is_not_counted(ticks: Clock) -> None:
    logs: dict[str, list[Any]] = {"fast": [], "slow": []}
    targets = [
        timed_target("fast", lambda _: FakeRunner(ticks, 100_000, logs["fast"])),
        timed_target("slow", lambda _: FakeRunner(ticks, 250_000, logs["slow"])),
    ]
    found = measure_rounds(targets, INPUTS, method(), (0, 0))
    fast, slow = found["fast", 1], found["slow", 1]
    # 10 ms a turn: 50 calls of 200 µs, 20 of 500; the engine alone takes half as long.
    assert [row.tolist() for row in fast.latency] == [[200_000] * 50] * 5
    assert [row.tolist() for row in slow.latency] == [[500_000] * 20] * 5
    assert [row.tolist() for row in slow.engine] == [[250_000] * 40] * 5
    assert fast.batches[4][0].tolist() == [800_000] * BATCH_CALLS
    assert fast.paced == []
    seen = {name: log[:-1] for name, log in logs.items()}
    assert [log[-1] for log in logs.values()] == ["closed", "closed"]
    turns = {name: len(seen[name]) - 20 for name in seen}  # two blocks of warm-up before
    assert turns == {"fast": 5 * (LEAD_CALLS + 50), "slow": 5 * (LEAD_CALLS + 20)}
    first_slow = np.array(seen["slow"][20 : 20 + LEAD_CALLS + 20])
    starts = range(20, len(seen["fast"]), LEAD_CALLS + 50)
    assert any(
        np.array_equal(np.array(seen["fast"][start : start + len(first_slow)]), first_slow)
        for start in starts
    )


@pytest.mark.parametrize(
    ("engine_ns", "calls"), [(1_000, MAX_CALLS), (1_000_000, 5), (10**9, MIN_CALLS)]
)
def test_a_turn_has_fewer_calls_of_a_slow_model(ticks: Clock, engine_ns: int, calls: int) -> None:
    one = timed_target("v", lambda _: FakeRunner(ticks, engine_ns))
    found = measure_rounds([one], INPUTS, method(), (0, 0))
    assert {row.size for row in found["v", 1].latency} == {calls}


def test_threads_are_measured_beside_each_other(ticks: Clock) -> None:
    one = timed_target("v", lambda threads: FakeRunner(ticks, 100_000 * threads))
    found = measure_rounds([one], INPUTS, method(threads=(1, 4)), (0, 0))
    assert found["v", 4].latency[0][0] == 4 * found["v", 1].latency[0][0]


def test_the_paced_mode_waits_for_its_time_and_counts_the_work_alone(ticks: Clock) -> None:
    starts = []

    def call(duration_ns: int) -> None:
        starts.append(ticks.now)
        ticks.now += duration_ns

    durations = time_paced(call, [1_000_000, 150_000_000, 1_000_000, 1_000_000], 10)
    assert durations.tolist() == [1_000_000, 150_000_000, 1_000_000, 1_000_000]
    # The third is late after a slow second one; the fourth is on time again.
    assert starts == [0, 100_000_000, 250_000_000, 300_000_000]
    one = timed_target("v", lambda _: FakeRunner(ticks, 100_000))
    found = measure_rounds([one], INPUTS, method(rate_hz=30.0), (0, 0))
    assert [row.size for row in found["v", 1].paced] == [PACED_CALLS]


def test_processes_add_up(monkeypatch: pytest.MonkeyPatch, ticks: Clock) -> None:
    seeds, progress = [], []

    def run(
        targets: list[Target],
        inputs: NDArray[np.uint8],
        chosen: Method,
        seed: tuple[int, int],
        limit_s: float,
    ) -> Any:
        assert limit_s == 7
        seeds.append(seed)
        return measure_rounds(targets, inputs, chosen, seed)

    monkeypatch.setattr(latency, "run_process", run)
    one = timed_target("v", lambda _: FakeRunner(ticks, 100_000))
    found = measure([one], INPUTS, method(), lambda *told: progress.append(told), 7)
    assert seeds == [(0, 0), (0, 1)]
    assert len(found["v", 1].latency) == 10
    assert len(found["v", 1].batches[4]) == 2
    assert progress == [("speed", 1, 2), ("speed", 2, 2)]


def test_a_process_of_its_own_measures_a_real_bundle(tiny: Path) -> None:
    one = timed_target("v", partial(ModelRunner, tiny, "onnx", "int8"))
    inputs = np.zeros((5, 8, 8, 1), np.uint8)
    found = run_process([one], inputs, method(rounds=4, batches=(2,)), (0, 0), 60)
    timings = found["v", 1]
    assert len(timings.latency) == len(timings.engine) == 2
    assert np.median(timings.engine) < np.median(timings.latency)
    assert timings.batches[2][0].size == BATCH_CALLS
    assert timings.latency[0].dtype == np.int64


def test_timings_are_sent_whole_or_refused(ticks: Clock) -> None:
    one, how = timed_target("v", lambda _: FakeRunner(ticks, 100_000)), method(threads=(1, 2))
    found = measure_rounds([one], INPUTS, how, (0, 0))
    sent = dump_timings(found)
    read = parse_timings(sent, ["v"], how, "it")
    assert read.keys() == found.keys()
    for key, timings in found.items():
        assert repr(read[key]) == repr(timings)
    changes: tuple[tuple[Callable[[Any], object], str], ...] = (
        (lambda tree: tree["timed"].pop(), "other timings than it was asked for"),
        (lambda tree: tree["timed"].append(tree["timed"][0]), "other timings"),
        (lambda tree: tree["timed"][0]["latency"].pop(), "other timings"),
        (lambda tree: tree["timed"][0]["batches"].pop(), "other timings"),
        (lambda tree: tree["timed"][0]["paced"].append([1]), "other timings"),
        (lambda tree: tree["timed"][0]["latency"][0].append(-1), "expected durations"),
        (lambda tree: tree["timed"][0]["engine"].__setitem__(0, []), "expected durations"),
        (lambda tree: tree["timed"][0].update(variant=7), "variant: expected text"),
    )
    for change, message in changes:
        tree = json.loads(sent)
        change(tree)
        with pytest.raises(TinsmithError, match=message):
            parse_timings(json.dumps(tree).encode(), ["v"], how, "it")


def test_a_process_that_fails_is_quoted_in_one_line(tmp_path: Path) -> None:
    one = timed_target("v", partial(ModelRunner, tmp_path / "none.tin", "onnx", "int8"))
    with pytest.raises(TinsmithError, match=r"the timing process ended .*no such bundle"):
        run_process([one], INPUTS, method(), (0, 0), 60)


def test_the_clock_is_named_and_its_cost_measured() -> None:
    name, overhead_ns = clock()
    assert "resolution" in name
    assert 0 < overhead_ns < 1e5
