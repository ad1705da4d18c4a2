"""A report for the terminal: at most 100 columns wide.

Names, labels and warnings may come from a stranger's file or another machine: whatever would steer
the terminal is shown as its escape, and nothing is taken for rich's markup.
"""

from collections.abc import Iterable
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinsmith_bench.facts import facts
from tinsmith_bench.report import Report
from tinsmith_bench.tables import TextTable, tables
from tinsmith_runtime.errors import printable

WIDTH = 100


def print_report(report: Report, console: Console) -> None:
    """Prints a report: verdict, warnings, facts, tables and notes, with a blank line between."""
    warnings = [f"Warning: {warning}" for warning in report.warnings]
    write_paragraphs([*report.verdict, *warnings], console)
    _write([*facts(report), ""], console)
    for table in tables(report):
        print_titled(table, console)
    write_paragraphs(report.notes, console)


def print_titled(table: TextTable, console: Console) -> None:
    """Prints a table with its title and note; text to the left, numbers to the right."""
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for column, heading in enumerate(table.headings):
        left = not column or heading in ("result", "against", "what", "reason")
        # A name may take two lines where columns are many; a number never.
        grid.add_column(
            _heading(heading),
            justify="left" if left else "right",
            no_wrap=bool(column) and heading != "reason",
        )
    for row in table.rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    _write([table.title], console)
    console.print(grid)
    write_paragraphs([table.note], console)


def write_paragraphs(paragraphs: Iterable[str], console: Console) -> None:
    """Prints paragraphs, each wrapped and followed by a blank line."""
    for paragraph in paragraphs:
        _write([paragraph, ""], console)


def _write(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        text = fill(printable(line), width=console.width, break_on_hyphens=False)
        console.out(text, highlight=False)


def _heading(text: str) -> Text:
    """A heading as it stands; its line breaks are those of the table, not of a name."""
    return Text("\n".join(map(printable, text.split("\n"))))
