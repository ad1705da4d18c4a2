"""`tinsmith init`: three questions, and `tinsmith.toml` out of the answers."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinsmith.initial import check_data, check_host, check_model, init
from tinsmith_data.options import WHAT
from tinsmith_runtime.cli.settings import FILE
from tinsmith_runtime.errors import UsageError, printable
from tinsmith_train.recipe import RECIPES


@dataclass(frozen=True)
class _Question:
    """What is asked where neither an option nor `--yes` answers it."""

    option: str
    metavar: str
    about: str
    default: str
    check: Callable[[str], None]


_QUESTIONS = (
    _Question("data", "DATA", f"data to learn from and to test on: {WHAT}", "mnist", check_data),
    _Question(
        "model",
        "MODEL",
        f"the model: {', '.join(RECIPES)} to train one; or a trained one, NAME.keras",
        "cnn",
        check_model,
    ),
    _Question("host", "[USER@]HOST", "a board to measure on, over ssh; none: here", "", check_host),
)


def configure_init(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith init`."""
    for question in _QUESTIONS:
        default = f"; default: {question.default}" if question.default else ""
        parser.add_argument(
            f"--{question.option}", metavar=question.metavar, help=question.about + default
        )
    parser.add_argument("--yes", action="store_true", help="ask nothing: take the defaults")
    parser.add_argument(
        "--out", type=Path, default=Path(FILE), metavar="FILE", help=f"default: {FILE}"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.out.exists():  # before anything is asked
        raise UsageError(
            f"{arguments.out}: it exists already: change it, or name another with --out"
        )
    answers = {question.option: _answer(question, arguments) for question in _QUESTIONS}
    path = init(arguments.out, **answers)
    # What is read without being named needs no option.
    more = "" if path == Path(FILE) else f" --config {path}"
    steps = ["train"] if answers["model"] in RECIPES else []
    print(printable(f"written   {path}"))
    print(
        "next      "
        + printable(", ".join(f"tinsmith {s}{more}" for s in [*steps, "export", "bench"]))
    )
    return 0


def _answer(question: _Question, arguments: argparse.Namespace) -> str:
    given: str | None = getattr(arguments, question.option)
    if given is None and arguments.yes:
        given = question.default
    if given is not None:
        question.check(given)
        return given
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(f"init: nobody is there to ask: give --{question.option}, or --yes")
    while True:
        print(f"{question.about} [{question.default}]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise UsageError("init: no more answers: nothing is written")
        text = line.strip() or question.default
        try:
            question.check(text)
        except UsageError as error:
            print(f"tinsmith: {error}", file=sys.stderr)
        else:
            return text
