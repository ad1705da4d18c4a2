from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_bench.report_data import Estimate, extremes
from tinsmith_bench.stats import intervals
from tinsmith_bench.stats.intervals import BETWEEN_RUNS, paired_ratio, unpaired_ratio


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_runs_are_summarized_by_median_lowest_and_highest() -> None:
    assert extremes([7, 1, 2]) == Estimate(2, 1, 7)


def test_the_ratio_of_exact_timings_is_exact() -> None:
    ratio = paired_ratio(np.full(12, 300.0), np.full(12, 200.0), 4, rng())
    low, high = 1.5 * np.exp([-BETWEEN_RUNS, BETWEEN_RUNS])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.5, low, high))


@given(st.lists(st.floats(1, 1e6), min_size=12, max_size=12), st.integers(0, 99))
def test_one_ratio_is_the_inverse_of_the_other(values: list[float], seed: int) -> None:
    one, other = np.array(values), np.arange(100.0, 112.0)
    there, back = (paired_ratio(a, b, 6, rng(seed)) for a, b in ((one, other), (other, one)))
    inverse = back.inverse()
    assert (there.value, there.low, there.high) == pytest.approx(
        (inverse.value, inverse.low, inverse.high)
    )
    assert there.low < there.value < there.high


def test_noise_that_slows_whole_rounds_leaves_the_ratio_alone() -> None:
    noise = rng()
    load = noise.choice([1.0, 3.0], size=60)
    one = 200 * load * noise.normal(1, 0.01, 60)
    other = 100 * load * noise.normal(1, 0.01, 60)
    ratio = paired_ratio(one, other, 20, rng())
    # Without pairing, a median that falls among slow rounds for one alone would give 0.7 or 6.
    assert 1.97 < ratio.low < ratio.value < ratio.high < 2.03


def coverage(draw: Callable[..., Estimate], blocks: int) -> float:
    """How often in 200 runs the interval holds 1.1, where processes and rounds both vary."""
    noise, covered = rng(1), 0
    for seed in range(200):
        sides = []
        for level in (110.0, 100.0):
            process = np.repeat(noise.normal(0, 0.01, blocks), 6)
            sides.append(level * np.exp(process + noise.normal(0, 0.02, blocks * 6)))
        ratio = draw(*sides, rng(seed))
        covered += ratio.low <= 1.1 <= ratio.high
    return covered / 200


@pytest.mark.parametrize("blocks", [6, 8, 20])
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_covers_the_truth_nineteen_times_in_twenty(
    blocks: int, paired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "BETWEEN_RUNS", 0)
    if paired:
        covered = coverage(lambda one, other, seed: paired_ratio(one, other, blocks, seed), blocks)
    else:
        covered = coverage(
            lambda one, other, seed: unpaired_ratio(one, other, (blocks, blocks), seed), blocks
        )
    # Of 200 at 95 % fewer than 91 % is a chance of 1 in 100; a percentile interval that is not
    # expanded covers 88 % of 6 blocks.
    assert covered >= 0.91


def test_rounds_of_a_process_are_not_taken_for_independent() -> None:
    """Processes that differ make the interval wide, however many rounds each of them has."""
    noise = rng()
    one = np.repeat(100 * np.exp(noise.normal(0, 0.02, 10)), 50)
    ratio = paired_ratio(one, np.full(500, 100.0), 10, rng())
    assert ratio.high / ratio.low > 1.02


# Student's t at 97.5 % with one degree of freedom fewer than blocks, from any printed table.
@pytest.mark.parametrize(("blocks", "t"), [(6, 2.5706), (8, 2.3646), (20, 2.0930), (60, 2.0010)])
def test_few_blocks_take_students_t(blocks: int, t: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "BETWEEN_RUNS", 0)
    monkeypatch.setattr(intervals, "RESAMPLES", 200_000)
    logs = np.array([NormalDist().inv_cdf((block + 0.5) / blocks) for block in range(blocks)])
    ratio = paired_ratio(np.exp(logs), np.ones(blocks), blocks, rng())
    found = np.log(ratio.high / ratio.low) / 2 / (logs.std(ddof=1) / blocks**0.5)
    # Means of six drawn blocks have shorter tails than the normal distribution, by 3 % there. The
    # normal 1.96, or t without the factor for a sample's variance, would be 9 to 30 % too narrow.
    assert found == pytest.approx(t, rel=0.04)
