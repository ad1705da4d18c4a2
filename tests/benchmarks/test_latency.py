import gc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_bench import latency
from tinsmith_bench.latency import (
    LEAD_CALLS,
    WARM_UP_BLOCKS,
    interleave,
    measure,
    p50_ratio,
    summarize,
    time_block,
    warm_up,
)


class Clock:
    """A clock that moves only when a variant works."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(latency, "perf_counter_ns", lambda: self.now)

    def variant(self, duration_ns, log=None, name=None):
        def predict(batch):
            self.now += duration_ns() if callable(duration_ns) else duration_ns
            if log is not None:
                log.append((name, batch.copy()))

        return predict


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32))
def test_every_round_holds_every_variant_once(count, rounds, seed):
    names = [f"v{i}" for i in range(count)]
    turns = list(interleave(names, rounds, np.random.default_rng(seed)))
    assert [number for number, _ in turns] == sorted(number for number, _ in turns)
    assert Counter(turns) == {(number, name): 1 for number in range(rounds) for name in names}


def test_the_order_changes_from_round_to_round_and_follows_the_seed():
    def turns(seed):
        return list(interleave("abcd", 50, np.random.default_rng(seed)))

    assert turns(0) == turns(0) != turns(1)
    orders = {tuple(name for _, name in turns(0)[i : i + 4]) for i in range(0, 200, 4)}
    assert len(orders) > 10
    followers = Counter(b for (_, a), (_, b) in pairwise(turns(0)) if a == "a")
    assert {"b", "c", "d"} <= followers.keys()


def test_percentiles_are_in_microseconds():
    found = summarize(np.arange(1, 102, dtype=np.int64).reshape(101, 1) * 1000)
    assert (found.min, found.p50, found.p90, found.p99) == (1, 51, 91, 100)
    assert found.samples == 101


@given(st.lists(st.integers(1, 10**12), min_size=1))
def test_percentiles_are_in_order(nanoseconds):
    found = summarize(np.array(nanoseconds))
    assert found.min <= found.p50 <= found.p90 <= found.p99 <= max(nanoseconds) / 1e3


def test_a_block_is_timed_with_the_collector_off_and_leaves_it_as_it_was():
    seen = []
    time_block(lambda _: seen.append(gc.isenabled()), [np.zeros(1, np.uint8)])
    assert seen == [False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_block(lambda _: 1 / 0, [np.zeros(1, np.uint8)])
    assert gc.isenabled()


def test_warm_up_ends_when_blocks_stop_getting_faster(clock):
    durations = iter([1000, 800, 600, 599, 598])
    assert warm_up(clock.variant(lambda: next(durations)), [np.zeros(1, np.uint8)]) == 4


def test_warm_up_ends_on_a_machine_that_never_settles(clock):
    durations = iter([2**40 >> i for i in range(40)])
    blocks = warm_up(clock.variant(lambda: next(durations)), [np.zeros(1, np.uint8)])
    assert blocks == WARM_UP_BLOCKS


def test_measure_gives_every_variant_the_same_images_and_drops_the_lead(clock):
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    log, progress = [], []
    variants = {
        "fast": clock.variant(100, log, "fast"),
        "slow": clock.variant(250, log, "slow"),
    }
    timings = measure(
        variants,
        images,
        batch=3,
        calls=4,
        rounds=5,
        rng=np.random.default_rng(0),
        watch=lambda done, total: progress.append((done, total)),
    )
    assert {name: timing.shape for name, timing in timings.items()} == {
        "fast": (5, 4),
        "slow": (5, 4),
    }
    assert np.all(timings["fast"] == 100)
    assert np.all(timings["slow"] == 250)
    assert progress[-1] == (10, 10)
    counted = log[-5 * 2 * (4 + LEAD_CALLS) :]
    seen = {
        name: np.array([batch for owner, batch in counted if owner == name]) for name in variants
    }
    assert seen["fast"].shape == (5 * (4 + LEAD_CALLS), 3, 1, 1, 1)
    np.testing.assert_array_equal(seen["fast"], seen["slow"])


def test_the_ratio_of_exact_timings_is_exact():
    fast, slow = np.full((10, 5), 200), np.full((10, 5), 300)
    ratio = p50_ratio(slow, fast, np.random.default_rng(0))
    assert (ratio.value, ratio.low, ratio.high) == (1.5, 1.5, 1.5)


def test_noise_that_slows_whole_rounds_leaves_the_ratio_alone():
    rng = np.random.default_rng(0)
    load = rng.choice([1.0, 3.0], size=(60, 1))
    one = 200 * load * rng.normal(1, 0.01, (60, 50))
    other = 100 * load * rng.normal(1, 0.01, (60, 50))
    ratio = p50_ratio(one.astype(np.int64), other.astype(np.int64), np.random.default_rng(0))
    # Without pairing, a median that falls among slow rounds for one alone would give 0.7 or 6.
    assert 1.97 < ratio.low < ratio.value < ratio.high < 2.03


def test_the_interval_covers_the_truth_nine_times_in_ten():
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(40):
        one = rng.normal(110, 5, (40, 10)) + rng.normal(0, 3, (40, 1))
        other = rng.normal(100, 5, (40, 10)) + rng.normal(0, 3, (40, 1))
        ratio = p50_ratio(one, other, np.random.default_rng(seed))
        covered += ratio.low <= 1.1 <= ratio.high
    # 95 % of 40 is 38; fewer than 34 has a chance of 1 in 100.
    assert covered >= 34
