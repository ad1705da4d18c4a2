import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinsmith_search.goals import parse_goals
from tinsmith_search.promotion import costs, order, promote, ranks

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
    others: list[dict[str, float]] = []
    assert promote(row(0.5, 100), others, GOALS, 3).promoted
    others = [row(0.5 + number / 10, 100) for number in range(3)]
    best, worst = (promote(row(accuracy, 100), others, GOALS, 3) for accuracy in (0.9, 0.1))
    assert (best.promoted, best.place, best.among, best.shortfall) == (True, 1, 4, 0.0)
    assert (worst.promoted, worst.place, worst.among, worst.shortfall) == (False, 4, 4, 0.5)


def test_a_limit_that_is_missed_costs_the_place() -> None:
    others = [row(0.8, 100, 900), row(0.8, 100, 950)]
    assert not promote(row(0.8, 100, 2000), others, GOALS, 3).promoted


@given(TABLES)
def test_no_row_of_a_front_dominates_another(table: np.ndarray) -> None:
    found = ranks(table)
    for one, mine in enumerate(table):
        dominating = [
            other for other, its in enumerate(table) if (its <= mine).all() and (its < mine).any()
        ]
        assert all(found[other] < found[one] for other in dominating)
        assert found[one] == 0 or any(found[other] == found[one] - 1 for other in dominating)


@given(TABLES)
def test_the_order_is_by_fronts(table: np.ndarray) -> None:
    found = order(table)
    assert sorted(found) == list(range(len(table)))
    assert (np.diff(ranks(table)[found]) >= 0).all()
