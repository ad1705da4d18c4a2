import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_search.errors import SearchError
from tinsmith_search.goals import MEASURED, METRICS, Limit, Metric, Objective, parse_goals

TAGS = st.text("aZ0_.-", max_size=20).map(lambda rest: f"p{rest}")
METRIC = st.sampled_from(sorted(METRICS)).flatmap(
    lambda name: st.builds(
        Metric, st.just(name), st.none() | TAGS if name in MEASURED else st.none()
    )
)
LIMIT = METRIC.flatmap(
    lambda metric: st.builds(
        Limit,
        st.just(metric),
        st.sampled_from(("<=", ">=")),
        st.integers(0, 10**9).map(float) if metric.name != "accuracy" else st.just(0.985),
    )
)


@given(METRIC, LIMIT)
def test_what_is_printed_is_read_again(metric: Metric, limit: Limit) -> None:
    objective = Objective(metric, METRICS[metric.name])
    goals = parse_goals([str(objective), str(limit)])
    assert (goals.objectives, goals.limits) == ((objective,), (limit,))


@pytest.mark.parametrize(
    ("line", "bound"),
    [
        ("size_bytes <= 50 kB", 50_000),
        ("size_bytes<=16KiB", 16_384),
        ("latency_us_p50 on pi4 <= 5 ms", 5000),
        ("accuracy >= 98 %", 0.98),
        ("macs <= 2e6", 2_000_000),
    ],
)
def test_units_of_a_limit(line: str, bound: float) -> None:
    (limit,) = parse_goals(["maximize accuracy", line]).limits
    assert limit.bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "expected an objective"),
        (["size_bytes <= 5"], "expected an objective"),
        (["maximize acuracy"], "unknown metric acuracy: did you mean accuracy?"),
        (["minimize accuracy"], "expected `maximize accuracy`, got minimize"),
        (["maximize accuracy on pi4"], "the same on every board"),
        (["minimize latency_us_p50 on ../pi"], "expected a tag"),
        (["maximize accuracy", "maximize accuracy"], "one objective of `accuracy`, got two"),
        (["maximize accuracy", "size_bytes < 5"], "expected <= or >=, got <"),
        (["maximize accuracy", "size_bytes <= 5 ms"], "expected one of B, kB"),
        (["maximize accuracy", "size_bytes <= 1e999"], "expected a finite number"),
        (["maximize accuracy", "size_bytes <= 1.2.3"], "expected a number, got 1.2.3"),
        (["maximize accuracy", "accuracy >= 98"], "expected 0 to 1"),
        (["maximize accuracy", "macs <= 5", "macs >= 6"], "nothing keeps to both"),
        (["as small as it can be"], "expected `maximize accuracy`"),
    ],
)
def test_goals_that_are_refused(lines: list[str], said: str) -> None:
    with pytest.raises(SearchError) as caught:
        parse_goals(lines)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(LIMIT, st.floats(0, 1e9))
def test_a_limit_is_missed_by_more_than_nothing(limit: Limit, value: float) -> None:
    kept = value <= limit.bound if limit.relation == "<=" else value >= limit.bound
    assert (limit.violation(value) <= 0) == kept


@given(st.text(max_size=60))
def test_any_line_is_read_or_refused_in_one_line(line: str) -> None:
    try:
        goals = parse_goals([line])
    except SearchError:
        return
    assert parse_goals([str(goals.objectives[0])]) == goals
