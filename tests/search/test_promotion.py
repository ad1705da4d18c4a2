import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinsmith_search.goals import parse_goals
from tinsmith_search.promotion import costs, promote, ranks

GOALS = parse_goals(["maximize accuracy", "minimize latency_us_p50 on pi4", "size_bytes <= 1000"])
TABLES = st.integers(1, 12).flatmap(
    lambda rows: arrays(np.float64, (rows, 2), elements=st.integers(0, 5).map(float))
)


def row(accuracy: float, macs: float, size: float = 500) -> dict[str, float]:
    return {"accuracy": accuracy, "macs": macs, "size_bytes": size}


def test_macs_stand_for_a_latency_that_nobody_has_measured() -> None:
    assert costs(row(0.9, 70), GOALS) == [-0.9, 70, 0]
    assert costs(row(0.9, 70) | {"latency_us_p50 on pi4": 3}, GOALS) == [-0.9, 3, 0]
    assert costs(row(0.9, 70, 1500), GOALS) == [-0.9, 70, 0.5]


def test_the_first_goes_on_and_then_one_of_three() -> None:
    assert promote(row(0.5, 100), [], [], GOALS, 3).promoted
    others = [row(0.5 + number / 10, 100) for number in range(3)]
    for gone_on, ended in ((others, []), ([], others)):
        best, worst = (promote(row(one, 100), gone_on, ended, GOALS, 3) for one in (0.9, 0.1))
        assert (best.promoted, best.place, best.among, best.shortfall) == (True, 1, 4, 0.0)
        assert (worst.promoted, worst.place, worst.among, worst.shortfall) == (False, 4, 4, 0.5)


def test_of_equally_good_ones_only_those_that_have_gone_on_stand_before() -> None:
    front = [row(0.5 + number / 10, 100 + number) for number in range(4)]
    mine = row(0.95, 110)
    assert promote(mine, [], front, GOALS, 3).place == 1
    assert promote(mine, front[:1], front[1:], GOALS, 3).promoted
    late = promote(mine, front[:2], front[2:], GOALS, 3)
    assert (late.promoted, late.place, late.among) == (False, 3, 5)


def test_a_limit_that_is_missed_costs_the_place() -> None:
    others = [row(0.8, 100, 900), row(0.8, 100, 950)]
    assert not promote(row(0.8, 100, 2000), others, [], GOALS, 3).promoted


@given(TABLES, st.sampled_from([1.0, 2.0, 3.0, 4.5]))
def test_nobody_of_the_first_front_is_turned_away_while_too_few_have_gone_on(
    table: np.ndarray, eta: float
) -> None:
    gone_on: list[dict[str, float]] = []
    ended: list[dict[str, float]] = []
    for accuracy, macs in table:
        mine = row(accuracy, macs)
        found = promote(mine, gone_on, ended, GOALS, eta)
        seen = np.array([costs(one, GOALS) for one in (mine, *gone_on, *ended)])
        if ranks(seen)[0] == 0 and len(gone_on) < len(seen) / eta:
            assert found.promoted
        assert found.promoted == (found.shortfall == 0)
        (gone_on if found.promoted else ended).append(mine)
    assert gone_on


@given(TABLES)
def test_no_row_of_a_front_dominates_another(table: np.ndarray) -> None:
    found = ranks(table)
    for one, mine in enumerate(table):
        dominating = [
            other for other, its in enumerate(table) if (its <= mine).all() and (its < mine).any()
        ]
        assert all(found[other] < found[one] for other in dominating)
        assert found[one] == 0 or any(found[other] == found[one] - 1 for other in dominating)
