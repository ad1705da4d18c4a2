"""The front and the winner: by property tests, and by cases whose answer is known."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from trials import answer, demonstrate, done

from tinsmith_export.results import Outcome
from tinsmith_report.statistics import holm, mcnemar_p
from tinsmith_search.evidence import compare, judge
from tinsmith_search.goals import Goals, parse_goals
from tinsmith_search.rows import Row, State
from tinsmith_search.winners import costs_of, front, is_feasible, winner

GOALS = parse_goals(["maximize accuracy", "minimize size_bytes", "accuracy >= 0.5"])
SMALLEST = parse_goals(["minimize size_bytes", "accuracy >= 0.9"])
FASTEST = parse_goals(["minimize latency_us_p50 on pi4", "minimize size_bytes"])
STATES: list[State] = ["done", "done", "done", "infeasible", "not promoted", "failed"]


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Few distinct values, so that there are ties; some configurations twice."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        right = draw(st.integers(40, 60))
        size = float(draw(st.integers(1, 8)))
        latency = float(draw(st.integers(1, 8)))
        row = done(
            number,
            right,
            100,
            values={"size_bytes": size, "latency_us_p50 on pi4": latency},
            intervals={"latency_us_p50 on pi4": (latency * 0.9, latency * 1.1)},
            parameters={"width": draw(st.integers(0, 20))},
            measured_on=draw(st.sampled_from(["Pi 4", "Pi 5"])),
        )
        found.append(replace(row, state=draw(st.sampled_from(STATES))))
    return found


def dominates(one: Row, other: Row, goals: Goals) -> bool:
    if goals is FASTEST and one.measured_on != other.measured_on:
        return False
    mine, its = costs_of(one, goals), costs_of(other, goals)
    return mine != its and all(a <= b for a, b in zip(mine, its, strict=True))


@pytest.mark.parametrize("goals", [GOALS, SMALLEST, FASTEST], ids=["two", "one", "boards"])
@given(trials=rows(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_front_is_what_nothing_dominates(trials: list[Row], seed: int, goals: Goals) -> None:
    members = front(trials, goals)
    for one in members:
        assert one.state == "done"
        assert is_feasible(one, goals)
        assert not any(dominates(other, one, goals) for other in members)
    configurations = [str(row.parameters) for row in members]
    assert len(set(configurations)) == len(configurations)
    for row in trials:
        if row.state == "done" and is_feasible(row, goals) and row not in members:
            again = any(
                other.parameters == row.parameters and other.number < row.number
                for other in trials
                if other.state == "done"
            )
            assert again or any(dominates(one, row, goals) for one in members)
    shuffled = random.Random(seed).sample(trials, len(trials))
    assert front(shuffled, goals) == members
    assert front(members, goals) == members


@given(
    rates=st.lists(st.sampled_from([0.5, 0.7, 0.9, 0.95]), min_size=1, max_size=6),
    sizes=st.permutations(range(6)),
    seed=st.integers(0, 1000),
    samples=st.sampled_from([20, 200, 2000]),
)
@settings(max_examples=60, deadline=None)
def test_no_other_is_significantly_better_than_the_winner(
    rates: list[float], sizes: list[int], seed: int, samples: int
) -> None:
    goals = parse_goals(["maximize accuracy", "minimize size_bytes"])
    members = [
        done(number, round(1000 * rate), values={"size_bytes": float(sizes[number])})
        for number, rate in enumerate(rates)
    ]
    answers = answer(members, samples, seed)
    verdict = winner(members, goals, answers)
    assert verdict.row is not None
    pairs = {(pair.one, pair.other): pair for pair in compare(members, answers)}
    for pair in pairs.values():
        if verdict.row.number == pair.one:
            assert pair.p >= 0.05 or pair.lost > pair.won
        if verdict.row.number == pair.other:
            assert pair.p >= 0.05 or pair.won > pair.lost
    assert verdict.row.number in verdict.equals
    assert verdict.separated == (len(verdict.equals) == 1)
    equals = [row for row in members if row.number in verdict.equals]
    assert verdict.row.values["size_bytes"] == min(row.values["size_bytes"] for row in equals)
    assert winner(members[::-1], goals, answers).row == verdict.row


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_corrects_as_it_is_defined(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    assert all(p <= a <= min(1, len(p_values) * p) for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_holm_of_a_known_example() -> None:
    # By hand: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04, which is not below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def right(count: int, samples: int = 1000) -> NDArray[np.bool_]:
    return np.arange(samples) < count


def test_a_paired_test_separates_what_intervals_do_not() -> None:
    goals = parse_goals(["maximize accuracy", "minimize size_bytes"])
    good = done(3, 960, values={"size_bytes": 900.0})
    less = done(5, 950, values={"size_bytes": 500.0})
    # The intervals overlap; but all of the ten answers on which they differ are for one of them.
    verdict = winner([good, less], goals, {3: right(960), 5: right(950)})
    assert verdict.row == good
    assert verdict.separated
    assert "McNemar" in verdict.why
    # One answer may be chance: the smaller one.
    verdict = winner([good, less], goals, {3: right(960), 5: right(959)})
    assert verdict.row == less
    assert verdict.equals == (3, 5)
    # Without the answers they cannot be told apart either.
    verdict = winner([good, less], goals, {})
    assert verdict.row == less
    assert verdict.equals == (3, 5)
    assert (
        "Trial 5 is the smallest of 2 that cannot be told apart by accuracy: 3, 5." in verdict.why
    )


def test_several_tests_are_corrected_for() -> None:
    members = [done(number, 900) for number in range(4)]
    answers = {row.number: right(900 - 6 * row.number) for row in members}
    pairs = compare(members, answers)
    assert [(pair.one, pair.other) for pair in pairs] == [
        (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)
    ]  # fmt: skip
    assert (pairs[0].lost, pairs[0].won) == (6, 0)
    alone = mcnemar_p(6, 0)
    assert alone < 0.05 < pairs[0].p
    assert pairs[2].p == pytest.approx(6 * mcnemar_p(18, 0))


def test_latencies_of_different_boards_are_not_compared() -> None:
    name = "latency_us_p50 on pi4"
    slow = done(
        1, values={name: 90.0, "size_bytes": 7.0}, intervals={name: (89, 91)}, measured_on="A"
    )
    fast = done(
        2, values={name: 10.0, "size_bytes": 9.0}, intervals={name: (9, 11)}, measured_on="B"
    )
    assert front([slow, fast], FASTEST) == [slow, fast]
    worse = replace(slow, number=4, parameters={"width": 4}, values={name: 95.0, "size_bytes": 9.0})
    assert front([slow, fast, worse], FASTEST) == [slow, fast]
    verdict = winner([slow, fast], FASTEST, {})
    assert verdict.row == slow
    assert "not compared" in verdict.why
    alike = replace(slow, measured_on="B")
    assert winner([alike, fast], FASTEST, {}).separated
    near = replace(alike, values={name: 11.2, "size_bytes": 7.0}, intervals={name: (11.1, 11.3)})
    assert winner([near, fast], FASTEST, {}).row == near  # apart, but by less than 3 %


@pytest.mark.parametrize(
    ("count", "outcome"),
    [(970, Outcome.PASS), (910, Outcome.UNDECIDED), (890, Outcome.UNDECIDED), (800, Outcome.FAIL)],
)
def test_a_limit_is_judged_by_the_interval(count: int, outcome: Outcome) -> None:
    (limit,) = SMALLEST.limits
    assert judge(done(1, count), limit, {}).outcome is outcome
    kept = judge(done(1, 500), limit, {1: right(count)})  # the test set, where it was looked at
    assert kept.outcome is outcome
    assert kept.value == count / 1000
    assert kept.low is not None
    assert kept.low < count / 1000


def test_what_is_counted_is_decided_and_what_has_no_interval_is_not() -> None:
    goals = parse_goals(["maximize accuracy", "size_bytes <= 100", "accuracy >= 0.5"])
    row = Row(1, "done", "", {}, {"size_bytes": 100.0, "accuracy": 0.9})
    assert [judge(row, limit, {}).outcome for limit in goals.limits] == ["pass", "undecided"]
    assert judge(replace(row, values={}), goals.limits[0], {}).outcome is Outcome.UNDECIDED
    over = judge(replace(row, values={"size_bytes": 101.0}), goals.limits[0], {})
    assert over.outcome is Outcome.FAIL


def test_one_that_surely_keeps_to_the_limits_comes_first() -> None:
    sure = done(1, 970, values={"size_bytes": 90.0})
    doubtful = done(2, 910, values={"size_bytes": 50.0})
    verdict = winner([sure, doubtful], SMALLEST, {})
    assert verdict.row == sure
    assert verdict.why.endswith("not sure that they keep to the limits: 2.")
    verdict = winner([doubtful], SMALLEST, {})
    assert verdict.row == doubtful
    assert "undecided: accuracy >= 0.9, where 91.00 was found (89.07 to 92.62)" in verdict.why
    verdict = winner([doubtful], SMALLEST, {2: right(880)})
    assert verdict.row is None
    assert (
        verdict.why
        == "No trial of the front kept to accuracy >= 0.9 when it was tested at the end."
    )


def test_nothing_is_named_where_there_is_nothing() -> None:
    assert front([], GOALS) == []
    assert winner([], GOALS, {}).row is None
    odd: list[dict[str, Any]] = [
        {},
        {"accuracy": float("nan"), "size_bytes": 1.0},
        {"accuracy": 0.9},
    ]
    assert front([done(n, values=values) for n, values in enumerate(odd)], GOALS) == []


def test_a_thousand_trials_take_a_moment() -> None:
    study, trials = demonstrate(1000)
    assert len(study.trials) == 1000
    members = front(trials, GOALS)
    assert 3 < len(members) < 200
    verdict = winner(members, GOALS, answer(members))
    assert verdict.row in members
