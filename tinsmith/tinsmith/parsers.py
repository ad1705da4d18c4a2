"""The parsers of all sub-commands, for what is generated from them."""

import argparse
from importlib.metadata import entry_points
from textwrap import shorten

from tinsmith_runtime.cli.command import SUMMARIES
from tinsmith_runtime.cli.settings import TYPED, add_config


def all_parsers() -> dict[str, argparse.ArgumentParser]:
    """Gives the parser of every sub-command that is installed, in the order of `--help`."""
    points = {point.name: point for point in entry_points(group="tinsmith.commands")}
    found = {}
    for name, (summary, _) in SUMMARIES.items():
        if name in points:
            parser = argparse.ArgumentParser(prog=f"tinsmith {name}", description=summary)
            points[name].load()(parser)
            if name not in TYPED:
                add_config(parser)
            found[name] = parser
    return found


def shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What `--help` shows of a parser."""
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def brief(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The beginning of an option's help, for a line of a menu."""
    return shorten(help_of(parser, action), 70, placeholder=" …")


def help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An option's help as it is printed, on one line."""
    return " ".join(parser._get_formatter()._expand_help(action).split())
