"""`tinsmith bench` and `tinsmith compare`: arguments in, report out, gates kept."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from tinsmith_bench.benchmark import BATCHES, QUICK, Options, unwatched
from tinsmith_bench.compare import METRICS, Move, moves, moves_table
from tinsmith_bench.gate import Gate, judge, parse_gate
from tinsmith_bench.markdown import markdown
from tinsmith_bench.measuring import configure_against, configure_host, measure
from tinsmith_bench.output import check_writable, write_text
from tinsmith_bench.reading import read_report
from tinsmith_bench.report import Report
from tinsmith_bench.terminal import WIDTH, print_report, print_titled, write_paragraphs
from tinsmith_data.options import add_data
from tinsmith_runtime import UsageError

STDOUT = Path("-")
PROFILE_CALLS = 200


def configure_bench(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith bench`."""
    parser.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help="what to measure, side by side"
    )
    data = parser.add_argument_group("what to test on")
    add_data(
        data,
        "what the bundle was trained on",
        ": x_test and y_test, or x and y (for several inputs an array for each, by its name); "
        "FOLDER/CLASS/*.png",
    )
    data.add_argument(
        "--top-k", type=int, default=3, metavar="K", help="also count the first K guesses (3)"
    )
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
        "--profile", action="store_true", help="also show which operators take the time"
    )
    method.add_argument(
        "--rounds", type=int, metavar="N", help=f"turns of each variant (default: {Options.rounds})"
    )
    method.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the order and inputs (default: 0)"
    )
    configure_against(parser)
    configure_host(parser)
    output = parser.add_argument_group("where the report goes")
    output.add_argument(
        "--json", type=Path, metavar="FILE", help="write the report as JSON; - prints it alone"
    )
    output.add_argument("--markdown", type=Path, metavar="FILE", help="write it as Markdown")
    output.add_argument(
        "--html", type=Path, metavar="FILE", help="write it as one HTML file, with plots"
    )
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")
    gates = parser.add_argument_group("gates: exit status 1")
    gates.add_argument(
        "--baseline", type=Path, metavar="JSON", help="compare with this earlier report"
    )
    _add_gates(gates)
    parser.set_defaults(run=run_bench)


def configure_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith compare`."""
    parser.add_argument("old", type=Path, metavar="OLD.json", help="the earlier report")
    parser.add_argument("new", type=Path, metavar="NEW.json", help="the later one")
    parser.add_argument("--json", action="store_true", help="what moved, as JSON")
    _add_gates(parser)
    parser.set_defaults(run=run_compare)


def _add_gates(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="as in 'latency_us_p50 > 1.10x' or 'accuracy < -0.2pp' against the baseline, "
        f"'size_bytes > 50000' without one; may be repeated; of {', '.join(METRICS)}",
    )


def run_bench(arguments: argparse.Namespace) -> int:
    """Measures, prints the report and writes the files asked for; returns the exit status.

    Raises:
        TinsmithError: the benchmark cannot be done, or a file cannot be written.
    """
    for path in (arguments.json, arguments.markdown, arguments.html):
        if path and path != STDOUT:
            check_writable(path)
    gates = [parse_gate(text) for text in arguments.fail_if]
    baseline = read_report(arguments.baseline) if arguments.baseline else None
    if baseline is None and any(gate.is_relative for gate in gates):
        raise UsageError("--fail-if: x and pp are against a report: name it with --baseline")
    render_html = _load_html() if arguments.html else None
    report = measure(arguments, _options(arguments), unwatched if arguments.quiet else _show)
    try:
        # Files first: whoever reads the report through a pipe may stop early.
        if arguments.json and arguments.json != STDOUT:
            write_text(arguments.json, report.to_json())
        if arguments.markdown:
            write_text(arguments.markdown, markdown(report))
        if render_html:
            write_text(arguments.html, render_html(report))
    finally:
        # A file that cannot be written does not cost the minute that the report took.
        _print(report, alone=arguments.json == STDOUT)
    if baseline is None and not gates:
        return 0
    # What a pipe reads as JSON must not be followed by a table.
    console = _console(sys.stderr if arguments.json == STDOUT else sys.stdout)
    if baseline is not None:
        console.print()
        _print_moves(gates, *moves(baseline, report), console)
    return _judge(gates, baseline, report, console)


def run_compare(arguments: argparse.Namespace) -> int:
    """Compares two reports and prints what moved; returns the exit status.

    Raises:
        UsageError: a report cannot be read, or a condition is none.
    """
    gates = [parse_gate(text) for text in arguments.fail_if]
    old, new = read_report(arguments.old), read_report(arguments.new)
    found, notes = moves(old, new)
    if arguments.json:
        print(json.dumps({"moves": [_tree(move) for move in found], "notes": notes}, indent=1))
        return _judge(gates, old, new, _console(sys.stderr))
    console = _console(sys.stdout)
    _print_moves(gates, found, notes, console)
    return _judge(gates, old, new, console)


def _tree(move: Move) -> dict[str, Any]:
    """A move for JSON, which has no infinity: there a ratio to 0 is `null`."""
    ratio = {end: value if isfinite(value) else None for end, value in asdict(move.ratio).items()}
    return {**asdict(move), "ratio": ratio}


def _print_moves(
    gates: Sequence[Gate], found: Sequence[Move], notes: Sequence[str], console: Console
) -> None:
    print_titled(moves_table(found, [gate.metric for gate in gates]), console)
    write_paragraphs(notes, console)
    if not any(move.is_real for move in found):
        write_paragraphs(["Nothing moved by more than chance explains."], console)


def _judge(gates: Sequence[Gate], old: Report | None, new: Report, console: Console) -> int:
    """Says which gates failed and which could not be tried; returns the exit status."""
    stopped, untried = judge(gates, old, new)
    lines = [
        f"{word}: {failure.gate.text}: {failure.variant}: {failure.reason}".replace(": : ", ": ")
        for word, found in (("Failed", stopped), ("Not tried", untried))
        for failure in found
    ]
    if gates and not lines:
        lines.append(f"No gate of {len(gates)} failed.")
    write_paragraphs(lines, console)
    return 1 if stopped or untried else 0


def _load_html() -> Callable[[Report], str]:
    """The HTML report needs matplotlib, which nothing else here does."""
    try:
        from tinsmith_bench.html import html
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--html: the plots need {error.name}: pip install 'tinsmith[html]' "
            "(everything else works without)"
        ) from error
    return html


def _options(arguments: argparse.Namespace) -> Options:
    options = replace(
        QUICK if arguments.quick else Options(),
        threads=arguments.threads,
        batches=arguments.batch,
        rate_hz=arguments.rate,
        top_k=arguments.top_k,
        seed=arguments.seed,
        profile_calls=PROFILE_CALLS if arguments.profile else 0,
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
    print_report(report, _console(sys.stdout))


def _console(file: TextIO) -> Console:
    console = Console(file=file)
    # What is piped away has no width of its own.
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


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
