"""`docs/tinsmith.schema.json` says of `tinsmith.toml` what the parsers say."""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinsmith
from tinsmith.parsers import all_parsers
from tinsmith.schema import settings_schema
from tinsmith_runtime.cli.settings import TYPED, convert, keys_of

FILE = Path(__file__).parents[2] / "docs" / "tinsmith.schema.json"
PAGE = FILE.parent / "how-to" / "recipe-file.md"
SCHEMA = settings_schema()
ACTIONS = [
    (table, name, action)
    for command, parser in all_parsers().items()
    if command not in TYPED
    for table, keys in keys_of(parser, command).items()
    for name, action in keys.items()
]


def _refusals(tables: object) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(tables)]


def test_the_file_is_what_the_parsers_say() -> None:
    told = "out of date: python -m tinsmith.schema > docs/tinsmith.schema.json"
    assert json.loads(FILE.read_text()) == SCHEMA, told


def test_it_is_a_schema_of_every_table() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert {"train", "export", "bench", "board", "run"} <= SCHEMA["properties"].keys()
    assert not TYPED & SCHEMA["properties"].keys()
    assert "host" in SCHEMA["properties"]["board"]["properties"]
    assert "config" not in SCHEMA["properties"]["train"]["properties"]
    for table in SCHEMA["properties"].values():
        assert all(one["description"] for one in table["properties"].values())


def test_what_is_written_is_taken(tmp_path: Path) -> None:
    tinsmith.init(tmp_path / "a.toml", data="digits", host="pi@board")
    assert _refusals(tomllib.loads((tmp_path / "a.toml").read_text())) == []
    (shown,) = [block.partition("```")[0] for block in PAGE.read_text().split("```toml\n")[1:]]
    assert _refusals(tomllib.loads(shown)) == []


@pytest.mark.parametrize(
    "tables",
    [
        {"trian": {}},
        {"train": {"epoch": 1}},
        {"train": 3},
        {"verify": {}},
        {"bench": {"host": "x"}},
    ],
)
def test_what_is_refused_is_refused(tables: object) -> None:
    assert _refusals(tables)


one = st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", "ptq", "7", "auto", ""])
values = one | st.floats(0.1, 0.9) | st.lists(one, max_size=3)


@given(st.sampled_from(ACTIONS), values)
def test_schema_and_parser_agree(action: tuple[str, str, argparse.Action], value: Any) -> None:
    """But for what an option's own function finds in a text."""
    table, name, entry = action
    try:
        convert(entry, value)
        taken = True
    except (argparse.ArgumentTypeError, TypeError, ValueError):
        taken = False
    allowed = not _refusals({table: {name: value}})
    if entry.type in (None, int, float, str, Path):
        assert taken == allowed
    else:
        assert allowed or not taken
