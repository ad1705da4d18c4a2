"""A report for people: in the terminal, at most 100 columns wide, and as Markdown."""

from functools import partial
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tinsmith_bench.report import ENGINE_NAMES, Report, Row

WIDTH = 100
# A line each in the terminal, where columns are scarce.
HEADINGS = (
    "engine",
    "model",
    "accuracy %\n[95 % interval]",
    "agree\n%",
    "p50\nµs",
    "p90\nµs",
    "p99\nµs",
    "min\nµs",
    "images\n/s",
    "file\nkB",
    "load\nms",
    "start\nms",
    "peak\nMB",
)


def print_report(report: Report, console: Console) -> None:
    """Prints a report: facts, table, legend, notes and verdict, with a blank line between."""
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for column, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if column < 2 else "right", no_wrap=True)
    for row in report.rows:
        table.add_row(*_cells(row))
    print_lines = partial(console.print, sep="\n", highlight=False, markup=False, soft_wrap=True)
    wrap = partial(fill, width=console.width, break_on_hyphens=False)
    print_lines(*map(wrap, _facts(report)), "")
    console.print(table)
    for paragraph in (_legend(report), *report.notes, *report.verdict):
        print_lines("", wrap(paragraph))


def markdown(report: Report) -> str:
    """Writes a report as Markdown, to paste into a README."""
    align = [":--" if column < 2 else "--:" for column in range(len(HEADINGS))]
    headings = [heading.replace("\n", " ") for heading in HEADINGS]
    table = [headings, align, *map(_cells, report.rows)]
    paragraphs = [
        "\n".join(f"- {fact}" for fact in _facts(report)),
        "\n".join(f"| {' | '.join(cells)} |" for cells in table),
        _legend(report),
        *report.notes,
        *report.verdict,
    ]
    return "\n\n".join(paragraphs) + "\n"


def _facts(report: Report) -> list[str]:
    machine, dataset, method = report.machine, report.dataset, report.method
    load = "" if machine.load_average is None else f", load average {machine.load_average}"
    engines = ", ".join(machine.engines.values())
    threads = "1 thread" if method.threads == 1 else f"{method.threads} threads"
    return [
        f"bundle: {report.bundle}, measured {report.created} by tinsmith {report.tinsmith}",
        f"dataset: {dataset.name}, {dataset.images:,} test images, sha256 {dataset.sha256[:12]}",
        f"machine: {machine.model}, {machine.cores} cores, {machine.architecture}, {machine.os}"
        f"{load}",
        f"software: {engines}, Python {machine.python}, {threads}",
    ]


def _legend(report: Report) -> str:
    method = report.method
    return (
        f"p50 to min: one image at a time, pixels to probabilities, {method.rounds} rounds of "
        f"{method.calls_per_round} calls, variants interleaved. images/s: in batches of "
        f"{method.batch}. agree: same class as the engine's float model. load: the bundle and the "
        "engine, its import included; start: from importing the runtime to the first prediction; "
        f"peak: the process's memory up to then ({method.cold_starts} fresh processes, median)."
    )


def _cells(row: Row) -> tuple[str, ...]:
    accuracy, latency, start = row.accuracy, row.latency_us, row.cold_start
    return (
        ENGINE_NAMES[row.backend],
        row.precision,
        f"{100 * accuracy.value:.2f} [{100 * accuracy.low:.2f}, {100 * accuracy.high:.2f}]",
        "-" if row.agreement is None else f"{100 * row.agreement:.2f}",
        *(f"{us:.0f}" for us in (latency.p50, latency.p90, latency.p99, latency.min)),
        f"{row.images_per_s:,.0f}",
        f"{row.size_bytes / 1e3:.1f}",
        f"{start.load_ms.value:.0f}",
        f"{start.start_ms.value:.0f}",
        f"{start.peak_rss_bytes.value / 1e6:.1f}",
    )
