"""`tinsmith search`: arguments in, the front and the winner out."""

import argparse
import re
import shlex
import sys
from pathlib import Path

from tinsmith_data.installed import require_installed
from tinsmith_data.options import WHAT
from tinsmith_data.quiet import results_alone
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import require_writable, write_whole

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TRIALS = 100


def configure_search(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith search`."""
    parser.add_argument(
        "space",
        type=Path,
        metavar="SPACE",
        help="a .toml file: the networks, trainings and exports to choose from, and the goals",
    )
    parser.add_argument("--data", metavar="DATA", help=f"{WHAT}, with labels; default: mnist")
    parser.add_argument(
        "--trials",
        type=int,
        default=_TRIALS,
        metavar="N",
        help=f"how many configurations to try, over all machines; default: {_TRIALS}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/search"),
        metavar="FOLDER",
        help="the run folder; the same command goes on with what is in it; default: runs/search",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="where the study lies, postgresql://USER@HOST/DATABASE for several machines; default: "
        "a file in the run folder",
    )
    parser.add_argument(
        "--study",
        metavar="NAME",
        help="the study's name in the storage; default: that of the run folder",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that try configurations at once, each with its share of the cores; "
        "default: 1",
    )
    parser.add_argument(
        "--boards",
        type=Path,
        metavar="FILE",
        help="a .toml file of boards, where a goal says `on TAG`; default: this machine measures",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--budget",
        metavar="TIME",
        help="end after about so long, 40m or 8h for example, the front's test included; default: "
        "when all trials have ended",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page there as well")
    parser.add_argument("--quiet", action="store_true", help="no progress, only results")
    parser.set_defaults(run=_run)


def parse_budget(text: str) -> float:
    """Reads a time, as `90s`, `40m`, `8h` or `2d`, in seconds.

    Raises:
        UsageError: it is none.
    """
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--budget: expected a time such as 90s, 40m or 8h, got {text!r:.40}")
    return float(match[1]) * _SECONDS[match[2] or ""]


def _run(arguments: argparse.Namespace) -> int:
    budget = None if arguments.budget is None else parse_budget(arguments.budget)
    require_installed("tinsmith[search]", "optuna")
    if arguments.html:
        require_writable(arguments.html)
    from tinsmith_search.api import search
    from tinsmith_search.space import read_space
    from tinsmith_search.terminal import TerminalProgress, print_report

    space = read_space(arguments.space)
    # The lines of workers would fall into a bar.
    has_bar = arguments.workers == 1
    progress = TerminalProgress(sys.stderr, space.goals, arguments.trials, has_bar=has_bar)
    with results_alone():
        try:
            found = search(
                space,
                arguments.data or "mnist",
                arguments.out,
                trials=arguments.trials,
                storage=arguments.storage,
                study=arguments.study,
                workers=arguments.workers,
                boards=arguments.boards,
                seed=arguments.seed,
                budget_s=budget,
                progress=None if arguments.quiet else progress.rows,
                command=shlex.join(["tinsmith", *sys.argv[1:]]),
            )
        finally:
            progress.stop()
    if arguments.html:
        from tinsmith_search.page import search_page  # it imports matplotlib

        write_whole(arguments.html, search_page(found.report).encode())
    if arguments.json:
        sys.stdout.write(found.report.to_json())
    else:
        print_report(found.report, sys.stdout)
    if found.stopped:
        print(f"tinsmith: stopped: the same command goes on with {arguments.out}", file=sys.stderr)
        return 130
    if found.report.winner is None:
        print(f"tinsmith: no winner: {found.report.why}", file=sys.stderr)
        return 1
    return 0
