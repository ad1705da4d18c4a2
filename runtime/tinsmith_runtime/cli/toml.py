"""Writes `tinsmith.toml`: for `init`, and for what a run leaves behind."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinsmith_runtime.cli.settings import convert, keys_of, takes_list


def toml_text(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Gives tables of texts, numbers, truths and lists of these as TOML."""
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {_value(one)}" for key, one in table.items()), ""])
        for name, table in tables.items()
        if table
    )


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool | str):
        # JSON's form is TOML's but for one character that TOML wants escaped; of a file name that
        # no encoding explains, what can be told.
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        return text.encode(errors="replace").decode()
    return repr(value)


def effective(
    parser: argparse.ArgumentParser, command: str, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Gives the settings that a sub-command works with, however they came to be, by table.

    What is not set is left out.
    """
    return {
        table: {
            key: plain
            for key, action in known.items()
            if (plain := _plain(action, getattr(arguments, action.dest, None))) is not None
        }
        for table, known in keys_of(parser, command).items()
    }


def _plain(action: argparse.Action, value: Any) -> Any:
    """A value as a file says it; `None` where that would not be understood."""
    if value is None or value is False or value in ([], ()):
        return None
    if takes_list(action):
        plain: Any = [_plain_one(one) for one in value]
    elif isinstance(value, tuple):
        plain = ",".join(map(str, value))
    else:
        plain = _plain_one(value)
    try:
        again = convert(action, plain)
    except (argparse.ArgumentTypeError, TypeError, ValueError):
        return None
    return plain if again == (list(value) if takes_list(action) else value) else None


def _plain_one(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
