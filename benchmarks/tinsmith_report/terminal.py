"""Paragraphs, tables and progress bars on a terminal; importing this module imports rich."""

from collections.abc import Callable, Iterable
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tinsmith_report.tables import TextTable

WIDTH = 100


class Terminal:
    """Prints text that may come from a stranger's file, at most 100 columns wide.

    Nothing is taken for rich's markup.

    Args:
        console: where to.
        printable: makes text harmless: whatever would steer the terminal becomes its escape.
    """

    def __init__(self, console: Console, printable: Callable[[str], str]) -> None:
        # What is piped away has no width of its own.
        console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
        self._console, self._printable = console, printable

    def lines(self, lines: Iterable[str]) -> None:
        """Prints lines, each wrapped."""
        for line in lines:
            text = fill(self._printable(line), width=self._console.width, break_on_hyphens=False)
            self._console.out(text, highlight=False)

    def paragraphs(self, paragraphs: Iterable[str]) -> None:
        """Prints paragraphs, each wrapped and followed by a blank line."""
        for paragraph in paragraphs:
            self.lines([paragraph, ""])

    def table(self, table: TextTable, words: Iterable[str] = (), wrapped: str = "") -> None:
        """Prints a table with its title and note; see `grid`."""
        self.lines([table.title])
        self._console.print(self.grid(table, words, wrapped))
        self.paragraphs([table.note])

    def grid(self, table: TextTable, words: Iterable[str] = (), wrapped: str = "") -> Table:
        """Lays a table out for this terminal, without its title and note.

        Args:
            table: its first column goes to the left, the others to the right.
            words: headings of other columns that go to the left.
            wrapped: the heading of a column that may take several lines, as the first may; a
                number never does.
        """
        grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
        for column, heading in enumerate(table.headings):
            left = not column or heading in words
            grid.add_column(
                self._heading(heading),
                justify="left" if left else "right",
                no_wrap=bool(column) and heading != wrapped,
            )
        for row in table.rows:
            grid.add_row(*(Text(self._printable(cell)) for cell in row))
        return grid

    def _heading(self, text: str) -> Text:
        """A heading as it stands; its line breaks are those of the table, not of a name."""
        return Text("\n".join(map(self._printable, text.split("\n"))))


def progress_bar(console: Console, figures: str) -> Progress:
    """A bar with figures and the time that is left; no more than a silent one off a terminal.

    Args:
        console: where to.
        figures: what stands behind the bar, as rich's format of a task: `{task.completed}`.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn(figures),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
