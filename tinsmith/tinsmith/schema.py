"""The JSON Schema of `tinsmith.toml`, by which editors complete and check it.

`python -m tinsmith.schema > docs/tinsmith.schema.json` writes it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from tinsmith.parsers import all_parsers, help_of
from tinsmith_runtime.cli.settings import TYPED, keys_of, takes_list

_TYPES: dict[Any, str] = {int: "integer", float: "number", Path: "string", str: "string"}
_TEXT = {"type": ["string", "number"]}


def settings_schema() -> dict[str, Any]:
    """Gives the schema: a table for each sub-command, a key for each of its options."""
    tables: dict[str, dict[str, Any]] = {}
    for command, parser in all_parsers().items():
        if command not in TYPED:
            for table, keys in keys_of(parser, command).items():
                about = {"description": str(parser.description)} if table == command else {}
                entry = tables.setdefault(table, {**_object(), **about})
                for key, action in keys.items():
                    entry["properties"][key] = _property(parser, action)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "tinsmith.toml",
        **_object(),
        "properties": tables,
    }


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _property(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, Any]:
    found: dict[str, Any] = {"description": help_of(parser, action), **_kind(action)}
    default = action.default
    if isinstance(default, int | float | str) and default is not False:
        found["default"] = default
    return found


def _kind(action: argparse.Action) -> dict[str, Any]:
    """What `settings.convert` takes."""
    if action.nargs == 0:
        return {"type": "boolean"}
    one = _one(action)
    if action.nargs == "?" and action.const is not None:
        return {"anyOf": [one, {"const": True}]}
    if not takes_list(action):
        return one
    least = 1 if action.nargs == "+" else action.nargs if isinstance(action.nargs, int) else 0
    most = {"maxItems": action.nargs} if isinstance(action.nargs, int) else {}
    return {"type": "array", "items": one, "minItems": least, **most}


def _one(action: argparse.Action) -> dict[str, Any]:
    if action.type is not None and action.type not in _TYPES:
        return {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
    if action.choices is not None:
        return {"enum": list(action.choices)}
    return {"type": _TYPES[action.type or str]}


if __name__ == "__main__":
    print(json.dumps(settings_schema(), indent=1, ensure_ascii=False))
