"""The statistics of reports, against published numbers and their own laws."""

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrow import some

from tinsmith_bench.stats.significance import wilson_estimate
from tinsmith_report.statistics import (
    changed_p,
    changed_score,
    changed_upper,
    count_to_decide,
    mcnemar_p,
    paired_loss_p,
    paired_loss_score,
    paired_loss_upper,
)


@pytest.mark.parametrize(
    ("lost", "won", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
    ],
)
def test_mcnemar_is_the_two_sided_binomial_test(lost: int, won: int, p_value: float) -> None:
    assert mcnemar_p(lost, won) == p_value


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_mcnemar_is_a_probability_and_symmetric(lost: int, won: int) -> None:
    assert 0 <= mcnemar_p(lost, won) == mcnemar_p(won, lost) <= 1


@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_falls_as_the_split_grows_uneven(lost: int, won: int) -> None:
    worse = max(lost, won)
    assert mcnemar_p(worse + 1, min(lost, won)) <= mcnemar_p(worse, min(lost, won))


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I,
        # method 3, to the four digits that it prints.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_the_published_table(
    correct: int, total: int, low: float, high: float
) -> None:
    interval = wilson_estimate(correct, total)
    assert interval.value == correct / total
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_value_and_stays_inside_0_and_1(counts: tuple[int, int]) -> None:
    interval = wilson_estimate(*counts)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low < interval.high


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_of_the_wrong_ones_is_the_mirror_image(counts: tuple[int, int]) -> None:
    right, total = counts
    one, other = wilson_estimate(right, total), wilson_estimate(total - right, total)
    # Both take a dozen roundings of double precision, each below 1e-16.
    assert one.low == pytest.approx(1 - other.high, abs=1e-14)


@pytest.mark.parametrize(
    ("first", "second", "count", "low", "high"),
    [
        # Fagerland, Lydersen and Laake 2014, "Recommended tests and confidence intervals for paired
        # binomial proportions", Statistics in Medicine 33: Tango's interval of the airway data.
        (1, 7, 21, -0.517, -0.026),
    ],
)
def test_tangos_interval_is_the_published_one(
    first: int, second: int, count: int, low: float, high: float
) -> None:
    assert paired_loss_upper(first, second, count) == pytest.approx(high, abs=5e-4)
    assert -paired_loss_upper(second, first, count) == pytest.approx(low, abs=5e-4)


COUNTS = st.integers(1, 300).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(
        lambda counts: counts[0] + counts[1] <= n
    )
)


@given(COUNTS)
def test_an_upper_end_is_above_the_loss_and_falls_with_more_inputs(
    counts: tuple[int, int, int],
) -> None:
    lost, won, count = counts
    upper = paired_loss_upper(lost, won, count)
    assert (lost - won) / count < upper <= 1 or lost == count
    assert paired_loss_upper(2 * lost, 2 * won, 2 * count) <= upper


@given(st.integers(1, 2000))
def test_with_nothing_lost_the_upper_end_is_wilsons(count: int) -> None:
    upper = paired_loss_upper(0, 0, count)
    assert upper == pytest.approx(wilson_estimate(0, count).high, rel=1e-5)


@given(st.integers(0, 200), st.integers(0, 200))
def test_at_the_limit_0_the_test_is_mcnemars(lost: int, won: int) -> None:
    p = paired_loss_p(lost, won, 1000, 0.0)
    if lost > won:
        assert 2 * p == pytest.approx(mcnemar_p(lost, won))
    else:
        assert p >= 0.5


def test_with_no_answer_won_the_test_is_nearly_the_binomial() -> None:
    # It must allow for answers that might have been won, so it is never surer than that.
    for lost in (4, 6, 9):
        exact = changed_p(lost, 500, 0.005)
        assert exact <= paired_loss_p(lost, 0, 500, 0.005) < 2 * exact + 0.02


def table(share: float, limit: float, count: int, draws: int, seed: int) -> np.ndarray:
    """Samples lost, won and neither of `count`, where the true loss is the limit, `(draws, 3)`."""
    chances = [(share + limit) / 2, (share - limit) / 2, 1 - share]
    return np.random.default_rng(seed).multinomial(count, chances, draws)


@pytest.mark.parametrize("count", [60, 500])
@pytest.mark.parametrize("limit", [0.0, 0.005, 0.05, -0.02])
@pytest.mark.parametrize("more", [0.0, 0.05, 0.6])
def test_at_the_limit_neither_verdict_comes_more_often_than_it_may(
    count: int, limit: float, more: float
) -> None:
    drawn = table(min(1.0, abs(limit) + more), limit, count, 4000, seed=count)
    tables, times = np.unique(drawn, axis=0, return_counts=True)
    scores = paired_loss_score(tables[:, 0], tables[:, 1], count, limit)
    # The exact p falls as the score rises: it is asked for the lowest score that fails.
    order = np.argsort(scores)

    def fails(index: int) -> bool:
        lost, won, _ = (int(part) for part in tables[index])
        return paired_loss_p(lost, won, count, limit) < 0.05

    first = bisect_left(order, True, key=fails)
    failing = int(times[order[first:]].sum())
    passing = int(times[scores <= -1.959964].sum())
    # 4,000 draws of a chance of 5 % vary by 0.35 points, of 2.5 % by 0.25: three of each.
    assert failing / 4000 <= 0.05 + 0.0105
    # The score interval is no exact one: with 60 samples its side of 2.5 % has up to 3.4.
    assert passing / 4000 <= 0.034 + 0.0075


@given(st.integers(2, 400), st.floats(0.001, 0.999))
def test_an_exact_interval_and_an_exact_test_agree(count: int, share: float) -> None:
    changed = round(share * (count - 1))
    upper = changed_upper(changed, count)
    # So many or fewer come in 1 of 40, were the upper end the truth.
    assert 1 - changed_p(changed + 1, count, upper) == pytest.approx(0.025, abs=1e-6)


def test_how_many_inputs_would_decide() -> None:
    for lost, won, count, limit in ((0, 0, 120, 0.005), (1, 0, 120, 0.005), (8, 4, 300, 0.02)):
        score = float(paired_loss_score(lost, won, count, limit))
        enough = some(count_to_decide(count, score))
        more = enough / count
        again = float(paired_loss_score(lost * more, won * more, enough, limit))
        assert abs(again) >= (1.644 if score > 0 else 1.959)
        assert enough > count
    assert count_to_decide(120, changed_score(0, 120, 0.02)) == 190
    assert count_to_decide(100, 0.0) is None
    assert count_to_decide(100, changed_score(0, 100, 0.0)) is None
    assert count_to_decide(999, 2.5) == 1000
