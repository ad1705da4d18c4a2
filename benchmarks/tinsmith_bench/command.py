"""`tinsmith bench`: arguments in, report out."""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from tinsmith_bench.benchmark import BATCHES, QUICK, Options, bench, unwatched
from tinsmith_bench.connection import Board, Host
from tinsmith_bench.latency import Watch
from tinsmith_bench.markdown import markdown
from tinsmith_bench.output import check_writable, write_text
from tinsmith_bench.remote import bench_there
from tinsmith_bench.report import Report
from tinsmith_bench.samples import find_samples
from tinsmith_bench.terminal import WIDTH, print_report
from tinsmith_runtime import read_bundle

STDOUT = Path("-")


def configure_bench(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith bench`."""
    parser.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help="what to measure, side by side"
    )
    data = parser.add_argument_group("what to test on")
    tested = data.add_mutually_exclusive_group()
    tested.add_argument(
        "--dataset", metavar="NAME", help="a dataset (default: what the bundle was trained on)"
    )
    tested.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="an .npz file with x_test and y_test, or a folder of images PATH/LABEL/*.png",
    )
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="where the dataset's files are")
    method = parser.add_argument_group("how to measure")
    method.add_argument(
        "--quick", action="store_true", help="a quick look: fewer rounds, wider intervals"
    )
    method.add_argument(
        "--threads",
        type=_counts,
        default=(1,),
        metavar="N[,N]",
        help="threads an engine may use, each measured (default: 1)",
    )
    method.add_argument(
        "--batch",
        type=_counts,
        default=BATCHES,
        metavar="N[,N]",
        help=f"batch sizes for the throughput (default: {','.join(map(str, BATCHES))})",
    )
    method.add_argument(
        "--rate", type=float, metavar="HZ", help="also measure so many calls a second, as 30"
    )
    method.add_argument(
        "--rounds", type=int, metavar="N", help=f"turns of each variant (default: {Options.rounds})"
    )
    method.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the order and inputs (default: 0)"
    )
    there = parser.add_argument_group("on a board, from the desk")
    there.add_argument(
        "--host", metavar="[USER@]HOST", help="measure there, over ssh; nothing is left there"
    )
    there.add_argument("--identity", type=Path, metavar="FILE", help="the key to log in with")
    there.add_argument(
        "--ssh-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option for ssh, as Port=2222; may be given several times",
    )
    there.add_argument(
        "--remote-python",
        default="python3",
        metavar="PATH",
        help="the Python there that has an engine, as tinsmith/bin/python (default: python3)",
    )
    output = parser.add_argument_group("where the report goes")
    output.add_argument(
        "--json", type=Path, metavar="FILE", help="write the report as JSON; - prints it alone"
    )
    output.add_argument("--markdown", type=Path, metavar="FILE", help="write it as Markdown")
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.set_defaults(run=run_bench)


def run_bench(arguments: argparse.Namespace) -> int:
    """Measures, prints the report and writes the files asked for; returns the exit status.

    Raises:
        TinsmithError: the benchmark cannot be done, or a file cannot be written.
    """
    files = [path for path in (arguments.json, arguments.markdown) if path and path != STDOUT]
    for path in files:
        check_writable(path)
    report = _measure(arguments, unwatched if arguments.quiet else _show)
    _print(report, alone=arguments.json == STDOUT)
    if arguments.json and arguments.json != STDOUT:
        write_text(arguments.json, report.to_json())
    if arguments.markdown:
        write_text(arguments.markdown, markdown(report))
    return 0


def _measure(arguments: argparse.Namespace, watch: Watch) -> Report:
    """Here, or on the host that was named."""
    data = arguments.dataset, arguments.data, arguments.data_dir
    options = _options(arguments)
    if arguments.host is None:
        return bench(arguments.bundles, *data, options=options, watch=watch)
    host = Host(
        arguments.host, arguments.identity, tuple(arguments.ssh_option), arguments.remote_python
    )
    manifests = [read_bundle(path).manifest for path in arguments.bundles]
    return bench_there(
        host,
        arguments.bundles,
        find_samples(manifests, *data),
        options,
        watch=watch,
        greet=_silent if arguments.quiet else partial(_greet, host),
    )


def _silent(board: Board) -> None:
    """Says nothing of what was found on a board."""


def _greet(host: Host, board: Board) -> None:
    """Says what was found on a board, before it is measured."""
    packages = ", ".join(f"{name} {version}" for name, version in board.packages.items())
    print(
        f"{host.destination}: {board.architecture}, Python {board.python}, {packages}",
        file=sys.stderr,
        flush=True,
    )


def _options(arguments: argparse.Namespace) -> Options:
    options = replace(
        QUICK if arguments.quick else Options(),
        threads=arguments.threads,
        batches=arguments.batch,
        rate_hz=arguments.rate,
        seed=arguments.seed,
    )
    return options if arguments.rounds is None else replace(options, rounds=arguments.rounds)


def _counts(text: str) -> tuple[int, ...]:
    """Reads `1,2,4`."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers as in 1,2,4, got {text!r}") from error


def _print(report: Report, *, alone: bool) -> None:
    if alone:
        sys.stdout.write(report.to_json())
        return
    console = Console()
    # What is piped away has no width of its own.
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    print_report(report, console)


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
