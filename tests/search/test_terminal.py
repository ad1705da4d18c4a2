"""A search on a terminal: lines anywhere, a bar and the front so far where there is one."""

import io
from dataclasses import replace

import pytest
from trials import GOALS, answer, demonstrate

from tinsmith_search.goals import parse_goals
from tinsmith_search.report import make_report
from tinsmith_search.terminal import TerminalProgress, print_report
from tinsmith_search.winners import front

HOSTILE = "\x1b[2J[red]\u202e\n<b>"


def test_a_line_for_each_trial_that_ends_and_nothing_twice() -> None:
    _, rows = demonstrate(12)
    running = replace(rows[5], state="running")
    file = io.StringIO()
    progress = TerminalProgress(file, GOALS, 12)
    progress.rows([])
    progress.rows([*rows[:5], running])
    progress.rows([*rows[:5], running])
    progress.rows(rows)
    progress.stop()
    lines = file.getvalue().splitlines()
    assert [line.split()[:2] for line in lines] == [["trial", str(n)] for n in range(12)]
    assert "infeasible after checked" in lines[3]
    assert "size_bytes 47,900 is above 40,000" in lines[3]
    assert "accuracy 98.94 (98.62 to 99.19)" in lines[0]
    assert lines[0].endswith("; on the front")
    assert "\x1b" not in file.getvalue()


def test_what_ended_before_is_counted_and_not_told_again() -> None:
    _, rows = demonstrate(12)
    file = io.StringIO()
    progress = TerminalProgress(file, GOALS, 12)
    progress.rows(rows[:11])
    progress.rows(rows)
    first, *others = file.getvalue().splitlines()
    assert first.startswith("goes on: 11 trials had ended")
    assert [line.split()[1] for line in others] == ["11"]


def test_text_of_strangers_steers_no_terminal() -> None:
    study, rows = demonstrate(30)
    odd = [
        replace(
            row,
            parameters={f"width{HOSTILE}": HOSTILE, **row.parameters},
            reason=HOSTILE if row.reason else None,
            measured_on=row.measured_on and HOSTILE,
        )
        for row in rows
    ]
    file = io.StringIO()
    progress = TerminalProgress(file, GOALS, 30)
    progress.rows([])
    progress.rows(odd)
    progress.tell(HOSTILE)
    report = make_report(study, odd, GOALS, {}, command=HOSTILE, data=HOSTILE, notes=[HOSTILE])
    print_report(report, file)
    for harm in ("\x1b", "\u202e", "\x07"):
        assert harm not in file.getvalue()
    assert "[red]" in file.getvalue()  # text, not rich's markup


def test_the_report_says_who_won_and_why_in_a_hundred_columns() -> None:
    study, rows = demonstrate(60)
    members = front(rows, GOALS)
    report = make_report(
        study, rows, GOALS, answer(members), command="tinsmith search", data="digits"
    )
    file = io.StringIO()
    print_report(report, file)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith(f"Trial {report.winner} ")
    for member in members:
        assert f"\n{member.number} " in text
    assert text.count("winner") == 1
    assert "looked at after the search" in " ".join(text.split())
    assert report.winner is not None
    chosen = report.row(report.winner)
    assert f"Trial {chosen.number}: width {chosen.parameters['width']}, depth" in text


def test_a_report_of_nothing_says_so() -> None:
    goals = parse_goals(["maximize accuracy"])
    study, rows = demonstrate(0, goals)
    file = io.StringIO()
    print_report(make_report(study, rows, goals, {}, command="", data="digits"), file)
    assert file.getvalue().startswith("No trial is done and keeps to every limit.")


def test_on_a_terminal_the_front_so_far_stands_below(monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows = demonstrate(20)
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    progress = TerminalProgress(file, GOALS, 20)
    progress.rows([])
    progress.rows(rows)
    progress.stop()
    text = file.getvalue()
    assert "front so far" in text
    assert "20/20 trials" in text
    file.seek(0)
    file.truncate()
    progress = TerminalProgress(file, GOALS, 20, has_bar=False)
    progress.rows([])
    progress.rows(rows)
    progress.stop()
    assert "front so far" not in file.getvalue()
    assert "\x1b[?25" not in file.getvalue()
    # The cursor is shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
