import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_runtime.record import Rule, parse_record, read_json


@dataclass(frozen=True)
class Inner:
    ratio: float


@dataclass(frozen=True)
class Outer:
    name: str
    flag: bool
    count: Annotated[int, Rule("1 to 9", lambda count: 1 <= count <= 9)]
    pair: tuple[float, float]
    sizes: tuple[int | None, ...]
    inner: Inner | None
    versions: dict[str, str]
    unit: str = "lsb"
    extra: Inner | None = Inner(1.0)


GOOD = {
    "name": "x",
    "flag": True,
    "count": 3,
    "pair": [0, 1.5],
    "sizes": [None, 2],
    "inner": {"ratio": 0.5},
    "versions": {"numpy": "2"},
}


def test_parse() -> None:
    assert parse_record(Outer, GOOD) == Outer(
        "x", True, 3, (0.0, 1.5), (None, 2), Inner(0.5), {"numpy": "2"}
    )
    assert parse_record(Outer, {**GOOD, "inner": None}).inner is None
    changed = parse_record(Outer, {**GOOD, "unit": "pp", "extra": None})
    assert (changed.unit, changed.extra) == ("pp", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 1}, "name: expected text without control characters, got 1"),
        ({"name": "a\nb"}, r"name: expected text without control characters, got 'a\nb'"),
        ({"name": "\x1b[2J"}, r"name: expected text without control characters, got '\x1b[2J'"),
        ({"name": "\ud800"}, r"name: expected text without control characters, got '\ud800'"),
        ({"flag": 1}, "flag: expected true or false, got 1"),
        ({"unit": 1}, "unit: expected text"),
        ({"extra": {"ratio": "1"}}, "extra.ratio: expected a finite number, got '1'"),
        ({"count": True}, "count: expected a whole number, got True"),
        ({"count": 1.0}, "count: expected a whole number, got 1.0"),
        ({"count": 10}, "count: expected 1 to 9, got 10"),
        ({"pair": [1]}, "pair: expected 2 elements, got [1]"),
        ({"pair": 7}, "pair: expected a list, got 7"),
        ({"pair": [0, float("nan")]}, "pair[1]: expected a finite number, got nan"),
        ({"pair": [0, 10**400]}, "pair[1]: expected a finite number, got 1000"),
        ({"sizes": [None, "2"]}, "sizes[1]: expected a whole number, got '2'"),
        ({"inner": []}, "inner: expected an object, got []"),
        ({"inner": {}}, "inner.ratio: missing"),
        ({"inner": {"ratio": "1"}}, "inner.ratio: expected a finite number, got '1'"),
        ({"versions": {"numpy": 2}}, "versions['numpy']: expected text"),
        ({"versions": {"\n": "2"}}, r"versions key: expected text without control characters"),
        ({"more": 1}, "'more': unknown field"),
    ],
)
def test_problem_names_the_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 its text is what is tested
        parse_record(Outer, {**GOOD, **changes})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_all_problems_at_once() -> None:
    with pytest.raises(ValueError, match=r"name: missing.*count: missing.*; and 2 more"):
        parse_record(Outer, {})


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def outcome(read: Callable[[str], object], text: str) -> str:
    try:
        return repr(read(text))  # NaN is not equal to itself
    except ValueError as error:
        return f"{type(error)}: {error}"


def twice(text: str) -> str:
    """What is said of JSON in which a key stands twice; of other JSON nothing."""
    found: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        found.extend(name for name in names if names.count(name) > 1)

    with contextlib.suppress(ValueError):
        json.loads(text, object_pairs_hook=note)
    return f"{ValueError}: {found[0]!r}: expected every key once" if found else ""


@given(TREES.map(json.dumps) | st.text('0123456789.-+eE[]{}:,"\\u tfnrueNaIity\n'))
def test_json_is_read_as_json_reads_it(text: str) -> None:
    expected = outcome(json.loads, text)
    assert outcome(read_json, text) in (expected, twice(text))


def test_json_without_its_c_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    assert read_json('{"a": [1, 2.5, null]}\n') == {"a": [1, 2.5, None]}


@pytest.mark.parametrize("c_function", [True, False])
@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 1}', '{"b": [{"x": {"a": 1, "b": 2, "a": 3}}]}', '{"\\u0061": 1, "a": 2} '],
)
def test_a_key_twice(monkeypatch: pytest.MonkeyPatch, c_function: bool, text: str) -> None:
    if not c_function:
        monkeypatch.setitem(sys.modules, "_json", None)
    with pytest.raises(ValueError, match=r"^'a': expected every key once$"):
        read_json(text)
