"""The command line as Markdown, from the parsers themselves."""

import argparse
from collections.abc import Iterator
from functools import partial

from tables import code, prose, table
from tinsmith.parsers import all_parsers, help_of


def command_line() -> str:
    """Gives every sub-command with every option that its help shows."""
    parsers = all_parsers()
    overview = table(
        ("sub-command", "what it does"),
        (
            (f"[{code(name)}](#tinsmith-{name})", prose(str(parser.description)))
            for name, parser in parsers.items()
        ),
    )
    return "\n".join([overview, *(_section(parsers[name]) for name in parsers)])


def _section(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = partial(argparse.HelpFormatter, width=90)
    summary = str(parser.description)
    usage = parser.format_usage().removeprefix("usage: ")
    head = (
        f"## {parser.prog}\n\n{prose(summary[:1].upper() + summary[1:])}.\n\n```text\n{usage}```\n"
    )
    return "\n".join([head, *_groups(parser)])


def _groups(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        rows = [
            (_name(parser, action), prose(help_of(parser, action)) if action.help else "")
            for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest != "help"
        ]
        if rows:
            yield f"**{prose(str(group.title)).capitalize()}**\n"
            yield table(("name", "meaning"), rows)


def _name(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    words = ", ".join(action.option_strings)
    default = (
        formatter._get_default_metavar_for_optional(action)
        if words
        else str(action.metavar or action.dest)
    )
    given = "" if action.nargs == 0 else formatter._format_args(action, default)
    return code(f"{words} {given}".strip())
