"""`tinsmith bench`: arguments in, report out, gates checked."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tinsmith_bench.api import unwatched
from tinsmith_bench.command.compare import print_moves, tell_gates
from tinsmith_bench.command.measuring import measure
from tinsmith_bench.command.output import check_writable, write_text
from tinsmith_bench.gates.compare import moves
from tinsmith_bench.gates.gate import judge, parse_gate
from tinsmith_bench.options import QUICK, Options
from tinsmith_bench.rendering.markdown import markdown
from tinsmith_bench.rendering.terminal import open_terminal, print_report
from tinsmith_bench.report_data import Report
from tinsmith_bench.report_data.reading import read_report
from tinsmith_runtime import UsageError

STDOUT = Path("-")
PROFILE_CALLS = 200


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
    terminal = open_terminal(sys.stderr if arguments.json == STDOUT else sys.stdout)
    if baseline is not None:
        terminal.lines([""])
        print_moves(gates, *moves(baseline, report), terminal)
    return tell_gates(gates, *judge(gates, baseline, report), terminal)


def _load_html() -> Callable[[Report], str]:
    """The HTML report needs matplotlib and Jinja2, which nothing else here does."""
    try:
        from tinsmith_bench.rendering.html import html
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--html: it needs {error.name}: pip install 'tinsmith[html]' "
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


def _print(report: Report, *, alone: bool) -> None:
    if alone:
        sys.stdout.write(report.to_json())
        return
    print_report(report, open_terminal(sys.stdout))


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
