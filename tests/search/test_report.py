"""A search's report as data: its schema, its history, what mattered, and what it keeps secret."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from trials import GOALS, answer, demonstrate, done

from tinsmith_search.goals import parse_goals
from tinsmith_search.history import HYPERVOLUME, hypervolume
from tinsmith_search.importance import importances
from tinsmith_search.report import SearchReport, make_report, without_passwords
from tinsmith_search.rows import Row
from tinsmith_search.schema import search_schema
from tinsmith_search.winners import front

SCHEMA = Path(__file__).parents[2] / "docs" / "search.schema.json"


@pytest.fixture(scope="module")
def report() -> SearchReport:
    study, rows = demonstrate(60)
    answers = answer(front(rows, GOALS))
    return make_report(
        study, rows, GOALS, answers, command="tinsmith search", data="digits", validation_samples=9
    )


def test_the_schema_in_the_docs_is_that_of_the_code_and_describes_every_field() -> None:
    assert json.loads(SCHEMA.read_text()) == search_schema()
    jsonschema.Draft202012Validator.check_schema(search_schema())


def test_json_follows_the_schema(report: SearchReport) -> None:
    tree = json.loads(report.to_json())
    assert next(iter(tree)) == "schema_version"
    jsonschema.validate(tree, search_schema())
    for wrong in ({**tree, "extra": 1}, {**tree, "schema_version": 2}, {**tree, "winner": "7"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, search_schema())
    states = {row["state"] for row in tree["trials"]}
    assert states == {"done", "infeasible", "not promoted", "failed"}
    assert tree["winner"] in {member["number"] for member in tree["front"]}
    assert tree["test_samples"] == 2_000
    assert len(tree["paired"]) == len(tree["front"]) * (len(tree["front"]) - 1) / 2


def test_a_search_without_trials_is_a_report(tmp_path: Path) -> None:
    study, rows = demonstrate(0)
    found = make_report(study, rows, GOALS, {}, command="tinsmith search", data="digits")
    jsonschema.validate(json.loads(found.to_json()), search_schema())
    assert (found.winner, found.front, found.history.steps) == (None, (), ())


def test_values_that_json_has_no_number_for_are_left_out() -> None:
    study, _ = demonstrate(1)
    values = {"accuracy": float("nan"), "size_bytes": float("inf"), "macs": 9.0}
    row = Row(0, "failed", "check", {}, values, {"accuracy": (0.1, float("inf"))}, "odd")
    found = make_report(study, [row], GOALS, {}, command="", data="digits")
    (trial,) = json.loads(found.to_json())["trials"]
    assert trial["values"] == {"macs": 9.0}
    assert trial["intervals"] == {}


def test_who_was_tested_stays_in_the_front_with_what_the_test_found() -> None:
    study, _ = demonstrate(0)
    rows = [done(1, 970, values={"size_bytes": 61_000.0}), done(2, 960, values={"size_bytes": 9.0})]
    goals = parse_goals(["maximize accuracy", "size_bytes <= 60 kB"])
    right = {number: np.arange(1000) < 965 for number in (1, 2)}
    found = make_report(study, rows, goals, right, command="", data="digits")
    assert [member.number for member in found.front] == [1, 2]
    assert [member.limits[0].outcome for member in found.front] == ["fail", "pass"]
    assert found.winner == 2
    refused = [rows[0], replace(rows[1], state="infeasible", reason="it failed a gate")]
    found = make_report(study, refused, goals, right, command="", data="digits")
    assert (len(found.front), found.winner) == (2, None)


@given(
    st.integers(1, 4).flatmap(
        lambda axes: st.lists(
            st.tuples(*[st.integers(0, 8).map(float)] * axes), min_size=1, max_size=8
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_the_hypervolume_is_optunas(points: list[tuple[float, ...]]) -> None:
    array = np.array(points)
    reference = np.full(array.shape[1], 9.0)
    assert hypervolume(array, reference) == pytest.approx(compute_hypervolume(array, reference))


def test_the_history_never_gets_worse_and_ends_at_the_front(report: SearchReport) -> None:
    steps = report.history.steps
    values = [step.value for step in steps if step.value is not None]
    assert report.history.measure == HYPERVOLUME
    assert [step.ended for step in steps] == list(range(1, 61))
    assert values == sorted(values)
    assert 0 < values[-1] <= 1
    seconds = [step.seconds for step in steps]
    assert seconds == sorted(seconds)


def test_of_one_objective_the_history_is_the_best_so_far() -> None:
    goals = parse_goals(["minimize size_bytes", "accuracy >= 0.9"])
    study, rows = demonstrate(40, goals)
    found = make_report(study, rows, goals, {}, command="", data="digits")
    assert found.history.measure == "size_bytes"
    best = min(
        row.values["size_bytes"]
        for row in rows
        if row.state == "done" and row.values["accuracy"] >= 0.9
    )
    assert found.history.steps[-1].value == best


def test_what_matters_is_found_and_left_out_with_its_reason() -> None:
    study, rows = demonstrate(200)
    accuracy, size, latency = importances(study.trials, rows, GOALS)
    assert accuracy.trials == latency.trials == sum(row.state == "done" for row in rows)
    assert size.trials == 200  # what is counted is known of all
    assert sum(size.shares.values()) == pytest.approx(1)
    assert next(iter(size.shares)) == "width"
    assert size.shares["recipe"] < 0.05
    few = importances(study.trials[:9], rows[:9], GOALS)[1]
    assert few.reason == "it takes 20 trials whose size_bytes is known, there are 9"
    same = [replace(row, values={"size_bytes": 7.0}) for row in rows]
    assert importances(study.trials, same, GOALS)[1].reason == (
        "all 200 trials have the same size_bytes"
    )


def test_a_latency_matters_on_one_board_only() -> None:
    study, rows = demonstrate(120)
    moved = [replace(row, measured_on=f"board {row.number % 3 > 0}") for row in rows]
    latency = importances(study.trials, moved, GOALS)[2]
    assert latency.trials == sum(
        row.state == "done" and row.measured_on == "board True" for row in moved
    )


def test_parameters_that_only_some_trials_have_are_judged() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    rows = []
    for _ in range(40):
        trial = study.ask()
        family = trial.suggest_categorical("family", ["cnn", "resnet"])
        size = 10.0 * trial.suggest_int("width", 1, 9) if family == "cnn" else 300.0
        trial.suggest_categorical("only", ["one"])
        study.tell(trial, [0.9, size])
        rows.append(done(trial.number, 900, values={"size_bytes": size}, parameters=trial.params))
    goals = parse_goals(["minimize size_bytes"])
    (found,) = importances(study.trials, rows, goals)
    assert found.reason is None
    assert found.shares.keys() <= {"family", "width", "only"}


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("--storage postgresql://me:s3c@ret@host/db -x", "--storage postgresql://me:…@host/db -x"),
        ("'postgresql://host/db?password=s3cret&a=1'", "'postgresql://host/db?password=…&a=1'"),
        ("--storage sqlite:///a.db --model m:f", "--storage sqlite:///a.db --model m:f"),
    ],
)
def test_passwords_are_left_out(command: str, shown: str) -> None:
    assert without_passwords(command) == shown
