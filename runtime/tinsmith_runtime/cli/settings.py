"""`tinsmith.toml`: what would be typed again and again, in a table for each sub-command.

The keys are the options themselves, without the dashes before them, and the names of what stands
without an option. Options in a group whose title is in `SHARED` stand in a table of that name. The
command line wins. Whom to trust is typed: `TYPED` sub-commands read no file.
"""

from __future__ import annotations

import argparse
import os
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinsmith_runtime.errors import UsageError, printable
from tinsmith_runtime.files import open_regular

FILE = "tinsmith.toml"
SHARED = ("board",)
TYPED = frozenset(
    ("keygen", "sign", "verify", "install", "boot", "confirm", "doctor", "init", "completion")
)

_MAX_BYTES = 1 << 16
_NO_KEYS = ("help", "config", "no_config")
_EXPECTED: dict[Any, tuple[str, tuple[type, ...]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    Path: ("text", (str,)),
    str: ("text", (str,)),
    None: ("text", (str,)),
}

Keys = dict[str, dict[str, argparse.Action]]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and `--no-config`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"read settings from FILE; default: {FILE}, where there is one",
    )
    which.add_argument("--no-config", action="store_true", help="read no settings")


def keys_of(parser: argparse.ArgumentParser, command: str) -> Keys:
    """Gives the keys of each table that a sub-command reads, and what each is for its parser."""
    found: Keys = {command: {}}
    for group in parser._action_groups:
        table = group.title if group.title in SHARED else command
        for action in group._group_actions:
            if action.dest not in _NO_KEYS and action.help != argparse.SUPPRESS:
                found.setdefault(str(table), {})[_key(action)] = action
    return found


def _key(action: argparse.Action) -> str:
    words = [word for word in action.option_strings if word.startswith("--")]
    return words[0][2:] if words else action.dest.replace("_", "-")


def find_settings(
    parser: argparse.ArgumentParser, command: str, words: Sequence[str], commands: Sequence[str]
) -> Settings | None:
    """Reads the settings of a sub-command, if there are any.

    Args:
        parser: of the sub-command; what the file says is no longer required of the words.
        command: its name.
        words: what was typed.
        commands: the names of all sub-commands.

    Raises:
        UsageError: the file cannot be read, belongs to somebody else, or says what cannot be.
    """
    usage = parser.format_usage().removeprefix("usage: ").replace("%", "%%")
    first = argparse.ArgumentParser(parser.prog, usage, add_help=False)
    add_config(first)
    known, _ = first.parse_known_args(words)
    if known.no_config or (known.config is None and not os.path.lexists(FILE)):
        return None
    path = known.config or Path(FILE)
    tables = read_toml(path, trusted=known.config is not None)
    _check_tables(path, tables, commands)
    values = dict(_values(path, keys_of(parser, command), tables))
    return Settings(path, parser, values) if values else None


class Settings:
    """What a file says for one sub-command, each value as its parser would give it."""

    def __init__(
        self, path: Path, parser: argparse.ArgumentParser, values: Mapping[argparse.Action, object]
    ) -> None:
        self._path, self._parser, self._values = path, parser, values
        self._defaults = {action: action.default for action in parser._actions}
        self._refuse_rivals()
        for action, value in values.items():
            action.required = False
            if action.option_strings:
                action.default = argparse.SUPPRESS  # so that `fill` sees what was typed
            else:
                action.default = value
                action.nargs = "*" if isinstance(value, list) else "?"

    def fill(self, arguments: argparse.Namespace) -> None:
        """Sets what was not typed, and says on standard error what that is."""
        used = []
        for action, value in self._values.items():
            if action.option_strings and not hasattr(arguments, action.dest):
                rival = any(self._is_typed(other, arguments) for other in self._rivals(action))
                setattr(arguments, action.dest, self._defaults[action] if rival else value)
                used += [] if rival else [_key(action)]
            elif getattr(arguments, action.dest) is value and not action.option_strings:
                used.append(_key(action))
        # A file that hushes what it does would be no better for it.
        if used and ("quiet" in used or not getattr(arguments, "quiet", False)):
            print(printable(f"tinsmith: {self._path} sets {', '.join(used)}"), file=sys.stderr)

    def _rivals(self, action: argparse.Action) -> Iterator[argparse.Action]:
        """What may not be given together with an option."""
        for group in self._parser._mutually_exclusive_groups:
            if action in group._group_actions:
                yield from (other for other in group._group_actions if other is not action)

    def _is_typed(self, action: argparse.Action, arguments: argparse.Namespace) -> bool:
        default = self._defaults[action]
        return action not in self._values and getattr(arguments, action.dest, default) != default

    def _refuse_rivals(self) -> None:
        for action, value in self._values.items():
            for rival in self._rivals(action):
                both = (
                    (value, self._defaults[action]),
                    (
                        self._values.get(rival, self._defaults[rival]),
                        self._defaults[rival],
                    ),
                )
                if all(one != default for one, default in both):
                    raise UsageError(
                        f"{self._path}: {_key(action)}: expected it alone, got {_key(rival)} too"
                    )


def read_toml(path: Path, trusted: bool = True) -> dict[str, Any]:
    """Reads a file of settings.

    Args:
        path: of the file.
        trusted: whether somebody named it; else it must belong to who reads it, as in a shared
            folder.

    Raises:
        UsageError: it cannot be read, is too large or no TOML, or belongs to somebody else.
    """
    import tomllib

    try:
        with open_regular(path) as stream:
            owner = os.fstat(stream.fileno()).st_uid
            text = stream.read(_MAX_BYTES + 1)
        if not trusted and hasattr(os, "geteuid") and owner not in (0, os.geteuid()):
            raise UsageError(
                f"{path}: it belongs to another user: read it and name it with --config {path}, "
                "or go without by --no-config"
            )
        if len(text) > _MAX_BYTES:
            raise UsageError(f"{path}: expected at most {_MAX_BYTES} bytes, got more")
        return tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: expected TOML: {error}") from error


def _check_tables(path: Path, tables: Mapping[str, object], commands: Sequence[str]) -> None:
    known = [*(name for name in commands if name not in TYPED), *SHARED]
    for name, table in tables.items():
        if name in TYPED:
            raise UsageError(f"{path}: [{name}]: it reads no settings: type them")
        if name not in known:
            raise UsageError(f"{path}: {unknown('table', name, known)}")
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name}: expected a table, got {reprlib.repr(table)}")


def _values(
    path: Path, keys: Keys, tables: Mapping[str, Mapping[str, object]]
) -> Iterator[tuple[argparse.Action, object]]:
    for table, known in keys.items():
        for name, value in tables.get(table, {}).items():
            if name not in known:
                other = next((f": it stands in [{one}]" for one in keys if name in keys[one]), "")
                raise UsageError(f"{path}: [{table}] {unknown('key', name, known, other)}")
            try:
                yield known[name], convert(known[name], value)
            except (argparse.ArgumentTypeError, TypeError, ValueError) as error:
                raise UsageError(f"{path}: [{table}] {name}: {error}") from error


def unknown(
    what: str, name: str, known: Sequence[str] | Mapping[str, object], why: str = ""
) -> str:
    """Says that there is no table or key of a name, and which is meant."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), 1)
    why = why or (f": did you mean {near[0]}?" if near else f": known are {', '.join(known)}")
    return f"{reprlib.repr(name)}: unknown {what}{why}"


def takes_list(action: argparse.Action) -> bool:
    """Whether an option takes several values, each by itself."""
    appended = isinstance(action, argparse._AppendAction)
    return appended or action.nargs not in (None, 0, "?")


def convert(action: argparse.Action, value: object) -> Any:
    """Makes of a value in a file what a parser makes of words.

    Raises:
        ValueError: it is of another type, or none of the choices.
        ArgumentTypeError: the option's own function refuses it.
    """
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise _mismatch("true or false", value)
        return value if action.const is None else action.const if value else action.default
    if action.nargs == "?" and value is True and action.const is not None:
        return action.const
    if not takes_list(action):
        return _convert_one(action, value)
    if not isinstance(value, list) or (action.nargs == "+" and not value):
        raise _mismatch("a list", value)
    if isinstance(action.nargs, int) and len(value) != action.nargs:
        raise _mismatch(f"a list of {action.nargs}", value)
    return [_convert_one(action, one) for one in value]


def _convert_one(action: argparse.Action, value: object) -> Any:
    kind: Callable[[Any], Any] | None = action.type  # type: ignore[assignment]
    if kind not in _EXPECTED:  # a function that reads text, several values with commas between them
        several = value if isinstance(value, list) else [value]
        if any(type(one) not in (str, int, float) for one in several):
            raise _mismatch("text, a number or a list of these", value)
        found = kind(",".join(map(str, several)))  # type: ignore[misc]
    else:
        expected, types = _EXPECTED[kind]
        if type(value) not in types:
            raise _mismatch(expected, value)
        found = kind(value) if kind else value
    if action.choices is not None and found not in action.choices:
        raise _mismatch(" or ".join(map(str, action.choices)), value)
    return found


def _mismatch(expected: str, got: object) -> ValueError:
    return ValueError(f"expected {expected}, got {reprlib.repr(got)}")
