"""A report for the terminal: at most 100 columns wide."""

from functools import partial
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tinsmith_bench.report import Report
from tinsmith_bench.tables import TextTable, facts, tables

WIDTH = 100


def print_report(report: Report, console: Console) -> None:
    """Prints a report: verdict, warnings, facts, tables and notes, with a blank line between."""
    write = partial(console.print, sep="\n", highlight=False, markup=False, soft_wrap=True)
    wrap = partial(fill, width=console.width, break_on_hyphens=False)
    for paragraph in report.verdict:
        write(wrap(paragraph), "")
    for warning in report.warnings:
        write(wrap(f"Warning: {warning}"), "")
    write(*map(wrap, facts(report)))
    for table in tables(report):
        write("", table.title)
        print_table(table, console)
        write(wrap(table.note))
    for note in report.notes:
        write("", wrap(note))


def print_table(table: TextTable, console: Console) -> None:
    """Prints one table; text to the left, numbers to the right."""
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for column, heading in enumerate(table.headings):
        left = not column or heading in ("", "against")
        # A name may take two lines where columns are many; a number never.
        grid.add_column(heading, justify="left" if left else "right", no_wrap=bool(column))
    for row in table.rows:
        grid.add_row(*row)
    console.print(grid, highlight=False, markup=False)
