import argparse
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_runtime import TinsmithError, UsageError
from tinsmith_search.api import _interrupted
from tinsmith_search.command import configure_search, parse_budget
from tinsmith_search.errors import SearchError
from tinsmith_search.space import Space, parse_space, read_space
from tinsmith_search.values import Kind, parse_value

ROOT = Path(__file__).parents[2]
GOALS = {"objectives": ["maximize accuracy"]}
CNN = {"family": "cnn", "depth": 2, "widths": [4, 8]}


def space(**tables: Any) -> Space:
    return parse_space({"model": CNN, "goals": GOALS} | tables)


def choose(found: Space, **parameters: Any) -> Any:
    names = {name.replace("__", "."): value for name, value in parameters.items()}
    return found.choose(optuna.trial.FixedTrial(names))  # type: ignore[arg-type]


def test_each_block_chooses_for_itself() -> None:
    found = choose(space(), model__widths__1=8, model__widths__2=4).model
    assert found["widths"] == [8, 4]
    assert found["kernels"] == [3, 3]


def test_a_choice_for_all_blocks_is_as_long_as_the_network() -> None:
    found = space(
        model=CNN | {"depth": 3, "widths": 8, "strides": [[2, 1]], "kernels": [[5, 3], [3]]}
    )
    chosen = choose(found, model__kernels="5 3").model
    assert chosen["strides"] == [2, 1, 1]
    assert chosen["kernels"] == [5, 3, 3]


def test_ranges_and_lists_of_training_and_export() -> None:
    found = space(
        train={"epochs": 5, "learning-rate": {"low": 1e-3, "high": 1e-1, "log": True}},
        export={"recipe": ["ptq", "auto"], "budget": 30.0},
        stages={"short-epochs": [1, 3], "eta": 2.0},
    )
    chosen = choose(
        found,
        **{"train__learning-rate": 0.01, "export__recipe": "ptq"},
        model__widths__1=4,
        model__widths__2=4,
    )
    assert (chosen.epochs, chosen.train) == (5, {"learning_rate": 0.01})
    assert chosen.export == {"recipe": "ptq", "budget_s": 30.0}
    assert (found.short_epochs, found.eta) == ((1, 3), 2.0)


def test_what_is_described_differs_where_spaces_do() -> None:
    others = [space(model=CNN | {"widths": [4, 9]}), space(train={"epochs": 3}), space()]
    assert len({one.describe() for one in others}) == 3
    assert space().describe() == others[2].describe()


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"modle": {}}, "'modle': unknown table: did you mean model?"),
        ({"model": CNN | {"width": 4}}, "[model] 'width': unknown key: did you mean widths?"),
        ({"model": {"depth": 2}}, "[model]: expected family or function"),
        ({"model": {"family": "cnn", "widths": 4}}, "[model] depth: missing"),
        ({"model": CNN | {"family": "vgg"}}, "expected cnn or mobilenet or resnet or dscnn"),
        ({"model": {"function": "m:f", "depth": 2}}, "a function of your own chooses for itself"),
        ({"model": CNN | {"depth": 0}}, "[model] depth: expected a whole number from 1 to 64"),
        ({"model": CNN | {"depth": True}}, "expected a whole number"),
        ({"model": CNN | {"widths": []}}, "expected 1 to 1000 choices, got 0"),
        ({"model": CNN | {"widths": [4, 4]}}, "expected each choice once"),
        ({"model": CNN | {"widths": {"low": 8}}}, "expected low and high of a range"),
        ({"model": CNN | {"widths": {"low": 8, "high": 4}}}, "expected low below high"),
        ({"model": CNN | {"widths": {"low": 4, "high": 9, "step": 2}}}, "a part of high - low"),
        ({"model": CNN | {"widths": {"low": 4, "high": 8, "log": 1}}}, "expected true or false"),
        ({"train": {"held-back": [0.1, 0.2]}}, "the same in all trials"),
        ({"train": {"epochs": "many"}}, "[train] epochs: expected a whole number"),
        ({"stages": {"short-epochs": [3, 1]}}, "the smallest first"),
        (
            {"goals": {"limits": ["maximize accuracy"]}},
            "limits: expected lines such as `size_bytes",
        ),
        ({"goals": {"objectives": "maximize accuracy"}}, "expected a list of lines"),
        ({"goals": {"goal": []}}, "[goals] 'goal': unknown key"),
        ({"model": 3}, "[model]: expected a table"),
    ],
)
def test_spaces_that_are_refused(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(SearchError) as caught:
        space(**tables)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_named_in_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('[model]\nfamily = "cnn"\ndeph = 3\n')
    with pytest.raises(SearchError, match=r"space\.toml: \[model\] 'deph': unknown key: did you"):
        read_space(path)
    path.write_text("[model")
    with pytest.raises(TinsmithError, match="expected TOML"):
        read_space(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(("low", "high", "step", "log", "x")), inner)
        ),
        max_leaves=6,
    ),
    st.sampled_from((Kind(int, 1, 64), Kind(float, 0.0, 1.0), Kind(str))),
)
def test_any_value_is_read_or_refused(value: Any, kind: Kind) -> None:
    try:
        found = parse_value(value, kind, whole=True)
    except SearchError:
        return
    assert found.choices
    for one in found.choices:
        assert all(type(part) is kind.type for part in (one if type(one) is tuple else (one,)))


def test_the_space_of_the_page_is_the_one_that_is_shipped() -> None:
    page = (ROOT / "docs/how-to/search.md").read_text()
    (block,) = re.findall(r"```toml file=space.toml\n(.*?)```", page, re.DOTALL)
    shipped = read_space(ROOT / "benchmarks/search_mnist.toml")
    assert parse_space(tomllib.loads(block)) == shipped
    parser = argparse.ArgumentParser()
    configure_search(parser)
    (words,) = re.findall(r"^tinsmith search (.*)$", page, re.MULTILINE)
    assert parse_budget(parser.parse_args(words.split()).budget) == 40 * 60


def test_a_budget_ends_what_runs_as_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt), _interrupted(0.05) as spent:
        time.sleep(30)
    assert spent.is_set()
    with _interrupted(None) as spent:
        time.sleep(0.05)
    assert not spent.is_set()


@pytest.mark.parametrize("text", ["", "forty", "-3m", "3 weeks", "1e3"])
def test_budgets_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--budget: expected a time such as 90s"):
        parse_budget(text)
