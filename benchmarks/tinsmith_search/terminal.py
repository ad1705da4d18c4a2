"""A search on a terminal: how it goes, with the front so far; and what it found."""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live

from tinsmith_report.tables import TextTable
from tinsmith_report.terminal import Terminal, progress_bar
from tinsmith_runtime.errors import printable
from tinsmith_search.goals import Goals
from tinsmith_search.report import SearchReport
from tinsmith_search.rows import Row
from tinsmith_search.tables import WORDS, cards, front_table, sure_text, winner_text
from tinsmith_search.units import heading
from tinsmith_search.winners import costs_of, front

_MAX_MEMBERS = 10


class TerminalProgress:
    """A line for each trial that ends; on a terminal a bar below, and the front so far.

    Args:
        file: where to.
        goals: what is searched for.
        trials: how many are asked for.
        has_bar: whether there is one on a terminal.
    """

    def __init__(self, file: TextIO, goals: Goals, trials: int, *, has_bar: bool = True) -> None:
        self._console = Console(file=file, highlight=False, soft_wrap=True, emoji=False)
        self._terminal = Terminal(self._console, printable)
        self._goals, self._trials = goals, trials
        self._has_bar = has_bar and self._console.is_terminal
        self._members: list[Row] = []
        self._told: set[int] | None = None
        self._bar = progress_bar(self._console, "{task.completed}/{task.total} trials")
        self._task = self._bar.add_task("", total=trials)
        self._live = Live(console=self._console, get_renderable=self._shown, transient=True)

    def rows(self, rows: Sequence[Row]) -> None:
        """Tells which trials have ended since the last call; at the first one, how many had."""
        ended = [row for row in rows if row.state != "running"]
        self._members = front(ended, self._goals)
        on_front = {row.number for row in self._members}
        if self._told is None:
            self._told = {row.number for row in ended} if len(ended) > 1 else set()
            if self._told:
                self.tell(
                    f"goes on: {len(ended):,} trials had ended, {len(on_front)} are the front"
                )
            if self._has_bar:
                self._live.start()
        for row in ended:
            if row.number not in self._told:
                self._told.add(row.number)
                self.tell(_line(row, self._goals, row.number in on_front))
        self._bar.update(self._task, completed=min(len(ended), self._trials))

    def tell(self, line: str) -> None:
        """Prints a line above the bar."""
        self._console.print(printable(line), markup=False)

    def stop(self) -> None:
        """Takes the bar and the front away."""
        self._live.stop()

    def _shown(self) -> Group:
        best = sorted(self._members, key=lambda row: costs_of(row, self._goals))[:_MAX_MEMBERS]
        metrics = list(map(str, self._goals.metrics))
        table = TextTable(
            "",
            ("front so far", *map(heading, metrics)),
            tuple((str(row.number), *(sure_text(row, one) for one in metrics)) for row in best),
        )
        return Group(self._terminal.grid(table), self._bar) if best else Group(self._bar)


def print_report(report: SearchReport, file: TextIO) -> None:
    """Prints what was found: the winner and why, the front with its intervals, and notes."""
    terminal = Terminal(Console(file=file), printable)
    terminal.paragraphs([report.why])
    terminal.lines([*cards(report), ""])
    if report.front:
        terminal.table(front_table(report), words=WORDS, wrapped="limits")
    if report.winner is not None:
        terminal.paragraphs([winner_text(report)])
    terminal.paragraphs(report.notes)


def _line(row: Row, goals: Goals, is_member: bool) -> str:
    """What became of a trial."""
    said = [row.reason] if row.reason else []
    if row.state == "done":
        said = [f"{metric} {sure_text(row, str(metric))}" for metric in goals.metrics]
    stage = f" after {row.stage}" if row.stage and row.state != "done" else ""
    text = f"trial {row.number} {row.state}{stage}, {row.seconds:,.0f} s"
    return f"{text}: {', '.join(said)}{'; on the front' if is_member else ''}"
