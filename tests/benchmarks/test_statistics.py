"""The statistics of reports, against published numbers and their own laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_bench.stats.significance import wilson_estimate
from tinsmith_report.statistics import mcnemar_p


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
