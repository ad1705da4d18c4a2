"""`tinsmith bench`: arguments in, report out."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tinsmith_bench.benchmark import bench, unwatched
from tinsmith_bench.report import check_writable, write_text
from tinsmith_bench.table import WIDTH, markdown, print_report


def configure_bench(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith bench`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle to measure")
    tested = parser.add_mutually_exclusive_group()
    tested.add_argument(
        "--dataset", metavar="NAME", help="test on this (default: what the bundle was trained on)"
    )
    tested.add_argument(
        "--data", type=Path, metavar="FILE", help="test on x_test and y_test of this .npz file"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the dataset's files are"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write it as Markdown")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads an engine may use (default: 1)"
    )
    parser.add_argument(
        "--rounds", type=int, default=100, metavar="N", help="turns of each variant (default: 100)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the order and images (default: 0)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.set_defaults(run=run_bench)


def run_bench(arguments: argparse.Namespace) -> int:
    """Measures, prints the report and writes the files asked for; returns the exit status.

    Raises:
        TinsmithError: the benchmark cannot be done, or a file cannot be written.
    """
    files: list[Path] = [path for path in (arguments.json, arguments.markdown) if path]
    for path in files:
        check_writable(path)
    report = bench(
        arguments.bundle,
        arguments.dataset,
        arguments.data,
        arguments.data_dir,
        threads=arguments.threads,
        rounds=arguments.rounds,
        seed=arguments.seed,
        watch=unwatched if arguments.quiet else _show,
    )
    console = Console()
    # What is piped away has no width of its own.
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    print_report(report, console)
    if arguments.json:
        write_text(arguments.json, report.json())
    if arguments.markdown:
        write_text(arguments.markdown, markdown(report))
    return 0


def _show(what: str, done: int, total: int) -> None:
    """Shows progress on standard error: one line a stage, rewritten in place by a terminal.

    A progress bar that refreshes itself from a thread would compete with what is being timed.
    """
    percent = 100 * done // total
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{what} {percent:3d} %", end=end, file=sys.stderr, flush=True)
    elif done == total:
        print(f"{what} done", file=sys.stderr, flush=True)
