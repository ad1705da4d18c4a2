"""`boards.toml`: the boards that a search may measure on, and how to reach them."""

import argparse
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinsmith_bench.command.measuring import configure_host, host_of
from tinsmith_bench.remote.host import Host
from tinsmith_runtime import UsageError
from tinsmith_runtime.cli.settings import convert, keys_of, read_toml, unknown

TABLE, TAGS = "boards", "tags"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RULE = "1 to 64 letters, digits, dots, dashes and underscores"


@dataclass(frozen=True)
class Board:
    """A machine to measure on.

    Attributes:
        name: its own, for people.
        host: how to get there.
        tags: what goals call it: boards with a tag in common are alike.
    """

    name: str
    host: Host
    tags: tuple[str, ...] = ()


def read_boards(path: Path, *, trusted: bool = True) -> tuple[Board, ...]:
    """Reads a file of boards: a table `[boards.NAME]` for each, at least one.

    Its keys are `tags` and those of `[board]` in `tinsmith.toml`.

    Args:
        path: of the file.
        trusted: whether somebody named it; else it must belong to who reads it, for what it says
            to ssh can run a program here.

    Raises:
        UsageError: it cannot be read, or says what cannot be.
    """
    tables = read_toml(path, trusted)
    for name in tables:
        if name != TABLE:
            raise UsageError(f"{path}: {unknown('table', name, [TABLE])}")
    found = tables.get(TABLE)
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{path}: expected a table [{TABLE}.NAME] for each board, got none")
    boards = tuple(_board(path, name, table) for name, table in found.items())
    seen: dict[tuple[str, tuple[str, ...]], str] = {}
    for board in boards:
        other = seen.setdefault((board.host.destination, board.host.options), board.name)
        if other != board.name:
            raise UsageError(
                f"{path}: [{TABLE}.{board.name}] host: it is [{TABLE}.{other}] already: "
                "one table may have several tags"
            )
    return boards


def _board(path: Path, name: str, table: object) -> Board:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path}: [{TABLE}.{name!r:.100}]: expected a name of {_RULE}")
    where = f"{path}: [{TABLE}.{name}]"
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: expected a table, got {reprlib.repr(table)}")
    parser = argparse.ArgumentParser(add_help=False)
    configure_host(parser)
    keys = keys_of(parser, "")["board"]
    options = {action.dest: action.default for action in keys.values()}
    for key, value in table.items():
        if key == TAGS:
            continue
        if key not in keys:
            raise UsageError(f"{where} {unknown('key', key, [*keys, TAGS])}")
        try:
            options[keys[key].dest] = convert(keys[key], value)
        except (argparse.ArgumentTypeError, TypeError, ValueError) as error:
            raise UsageError(f"{where} {key}: {error}") from error
    if options["host"] is None:
        raise UsageError(f'{where} host: missing: expected `host = "pi@raspberrypi.local"`')
    try:
        return Board(name, host_of(options), _tags(table.get(TAGS)))
    except UsageError as error:  # options are keys here
        raise UsageError(f"{where} {str(error).removeprefix('--')}") from error


def _tags(value: object) -> tuple[str, ...]:
    tags = value if isinstance(value, list) else []
    if not tags or not all(isinstance(tag, str) and _NAME.fullmatch(tag) for tag in tags):
        got = "none" if value is None else reprlib.repr(value)
        raise UsageError(f"{TAGS}: expected a list of tags, each of {_RULE}, got {got}")
    return tuple(dict.fromkeys(tags))
