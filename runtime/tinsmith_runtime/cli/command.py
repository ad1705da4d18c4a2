"""The `tinsmith` command: finds the package of a sub-command and imports that package alone.

A package adds a sub-command through the entry-point group `tinsmith.commands`: a function
`configure(parser)` that adds its arguments and sets the default `run`, a function from the parsed
arguments to the exit status.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import entry_points, version
from typing import NoReturn

from tinsmith_runtime.cli.settings import TYPED, Settings, add_config, find_settings
from tinsmith_runtime.cli.toml import effective
from tinsmith_runtime.errors import TinsmithError, UsageError, printable

Configure = Callable[[argparse.ArgumentParser], None]

# What `tinsmith --help` says without importing a room, and what to install where a room is absent.
SUMMARIES: dict[str, tuple[str, str]] = {
    "train": ("train a Keras model on digits, photos or boxes", "tinsmith[compile]"),
    "export": ("compile a Keras model to a verified int8 bundle", "tinsmith[compile]"),
    "check": ("say what an export makes of a model", "tinsmith[compile]"),
    "bench": ("measure a bundle: accuracy, latency, memory, size", "tinsmith"),
    "compare": ("compare two reports of bench", "tinsmith"),
    "search": ("search for the smallest model that meets a goal", "tinsmith[search]"),
    "run": ("run a bundle on images, a camera or features", "tinsmith-runtime"),
    "serve": ("serve a bundle as a page and an HTTP API", "tinsmith-runtime[serve]"),
    "inspect": ("show what a bundle contains", "tinsmith-runtime"),
    "selftest": ("check a bundle's golden vectors on this machine", "tinsmith-runtime"),
    "keygen": ("make a key pair for signing bundles", "tinsmith-runtime[sign]"),
    "sign": ("sign a bundle with a private key", "tinsmith-runtime[sign]"),
    "verify": ("verify a bundle's signature", "tinsmith-runtime[sign]"),
    "install": ("test a bundle here, then switch a folder to it", "tinsmith-runtime"),
    "boot": ("run before a service: roll a failed trial back", "tinsmith-runtime"),
    "confirm": ("accept the bundle that is on trial", "tinsmith-runtime"),
    "doctor": ("say what works here, what is missing and how to install it", "tinsmith-runtime"),
    "init": ("ask what there is, and write tinsmith.toml", "tinsmith"),
    "completion": ("print what completes tinsmith in a shell", "tinsmith"),
    "demo": ("train, export and bench on handwritten digits", "tinsmith[compile]"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one `tinsmith` command line.

    Args:
        argv: the words after `tinsmith`; `sys.argv[1:]` if `None`.

    Returns:
        The exit status: 0 done, 1 failed, 2 misuse.

    Raises:
        SystemExit: by argparse, after `--help`, `--version` or a wrong option.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _dispatch(words)
        finally:
            _flush_stdout()
    except TinsmithError as error:
        print(f"tinsmith: error: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        return 1
    except OSError as error:
        print(f"tinsmith: error: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tinsmith: stopped", file=sys.stderr)
        return 130


def entry_point() -> None:
    """Runs the command line and exits with its status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that no encoding can print.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())


def _flush_stdout() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # What is buffered has nowhere to go; at exit Python would try again, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with the words; so do its sub-parsers, which are of the same class."""

    def error(self, message: str) -> NoReturn:
        for action in self._actions:
            option = action.option_strings[:1]
            if option and action.nargs == "+" and f"argument {option[0]}: invalid" in message:
                names = (one.metavar for one in self._actions if not one.option_strings)
                first = next(names, "another")
                message += f": {option[0]} takes all words behind it, so {first} comes first"
        super().error(printable(message))


def _dispatch(words: list[str]) -> int:
    name = next((word for word in words if not word.startswith("-")), None)
    parser = _Parser(
        prog="tinsmith", description="Keras models as verified int8 bundles for small boards."
    )
    parser.add_argument(
        "--version", action="version", version=f"tinsmith {version('tinsmith-runtime')}"
    )
    settings: Settings | None = None
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    try:
        for command, (summary, _) in SUMMARIES.items():
            sub = commands.add_parser(command, help=summary, description=summary)
            if command == name:
                _configure(command)(sub)
                settings = _settings(sub, command, words)
        arguments = parser.parse_args(words)
        if settings:
            settings.fill(arguments)
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`tinsmith {name}` needs {error.name}, which is not installed: "
            f"pip install '{SUMMARIES[str(name)][1]}'"
        ) from error


def _settings(
    parser: argparse.ArgumentParser, command: str, words: Sequence[str]
) -> Settings | None:
    """What `tinsmith.toml` says for a sub-command, which gets the options to choose another."""
    parser.set_defaults(settings=partial(effective, parser, command))
    if command in TYPED:
        return None
    add_config(parser)
    asks = {"-h", "--help"} & {*words}
    return None if asks else find_settings(parser, command, words, [*SUMMARIES])


def _configure(command: str) -> Configure:
    for point in entry_points(group="tinsmith.commands", name=command):
        configure: Configure = point.load()
        return configure
    raise UsageError(
        f"`tinsmith {command}` is not installed here: pip install '{SUMMARIES[command][1]}'"
    )
