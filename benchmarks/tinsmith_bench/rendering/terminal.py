"""A report for the terminal: at most 100 columns wide."""

from typing import TextIO

from rich.console import Console

from tinsmith_bench.rendering.facts import facts
from tinsmith_bench.rendering.tables import tables
from tinsmith_bench.report_data import Report
from tinsmith_report.tables import TextTable
from tinsmith_report.terminal import Terminal
from tinsmith_runtime.errors import printable


def open_terminal(file: TextIO) -> Terminal:
    """A terminal that shows names, labels and warnings of strangers without harm."""
    return Terminal(Console(file=file), printable)


def print_report(report: Report, terminal: Terminal) -> None:
    """Prints a report: verdict, warnings, facts, tables and notes, with a blank line between."""
    terminal.paragraphs([*report.verdict, *(f"Warning: {text}" for text in report.warnings)])
    terminal.lines([*facts(report), ""])
    for table in tables(report):
        print_table(table, terminal)
    terminal.paragraphs(report.notes)


def print_table(table: TextTable, terminal: Terminal) -> None:
    """Prints a table: words to the left, numbers to the right."""
    terminal.table(table, words=("result", "against", "what", "reason"), wrapped="reason")
