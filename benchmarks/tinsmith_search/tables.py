"""A search's report in words and tables, for the terminal and the page."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import get_args

from tinsmith_report.tables import TextTable
from tinsmith_search.evidence import Kept
from tinsmith_search.report import SearchReport
from tinsmith_search.rows import Row, State
from tinsmith_search.units import heading, interval_text, value_text

WORDS = ("result", "limits", "state", "reason", "board or CPU", "stage", "worker", "which")
"""The headings of columns that hold words."""

_MAX_NUMBERS = 8


def objective_metrics(report: SearchReport) -> list[str]:
    """The metrics of the objectives, the most important first."""
    return [objective.partition(" ")[2] for objective in report.objectives]


def shown_metrics(report: SearchReport) -> list[str]:
    """The metrics of objectives and limits, each once, and the size."""
    limited = [limit.rsplit(" ", 2)[0] for limit in report.limits]
    return list(dict.fromkeys([*objective_metrics(report), *limited, "size_bytes"]))


def front_table(report: SearchReport) -> TextTable:
    """The front: what was measured, how sure it is, and what that says of each limit."""
    metrics = shown_metrics(report)
    tested = report.test_samples is not None
    rows = []
    for member in report.front:
        row, test = report.row(member.number), member.test_accuracy
        cells = [str(row.number)]
        for metric in metrics:
            # The interval that counts is the test set's.
            plain = value_text(metric, row.values.get(metric))
            cells.append(plain if tested and metric == "accuracy" else sure_text(row, metric))
        if tested:
            cells.append(_sure("accuracy", test.value, test.low, test.high) if test else "-")
        rows.append((*cells, limits_text(member.limits), _result(report, row)))
    headings = ["trial", *map(_narrow, metrics)]
    if tested:
        headings.append("accuracy (%)\non the test set")
    return TextTable(
        "The front",
        (*headings, "limits", "result"),
        tuple(rows),
        "No other trial is at least as good as one of these in every objective and better in one. "
        "In brackets the 95 % interval. A limit is a pass where the whole interval keeps to it, a "
        "fail where none of it does, else undecided. equal: not told apart from the best in the "
        "first objective.",
    )


def limits_text(limits: Sequence[Kept]) -> str:
    """What measurements say of all limits: `pass`, or those that are no pass."""
    doubtful = [f"{one.outcome}: {one.limit}" for one in limits if one.outcome != "pass"]
    return ", ".join(doubtful) or ("pass" if limits else "-")


def sure_text(row: Row, metric: str) -> str:
    """What was measured of a trial during the search, with its interval where it has one."""
    low, high = row.intervals.get(metric, (None, None))
    return _sure(metric, row.values.get(metric), low, high)


def winner_text(report: SearchReport) -> str:
    """What was chosen for the winner, and where its bundle lies.

    Raises:
        KeyError: there is no winner.
    """
    if report.winner is None:
        raise KeyError("winner")
    row = report.row(report.winner)
    names = list(row.parameters)
    chosen = ", ".join(
        f"{name} {value}" for name, value in zip(names, _chosen(row, names), strict=True)
    )
    return f"Trial {row.number}: {chosen}" + (f"; {row.bundle}" if row.bundle else "")


def chosen_table(report: SearchReport) -> TextTable:
    """The parameters of the front."""
    rows = [report.row(member.number) for member in report.front]
    names = _parameters(rows)
    cells = ((str(row.number), *_chosen(row, names), row.bundle or "-") for row in rows)
    return TextTable("Parameters of the front", ("trial", *names, "bundle"), tuple(cells))


def paired_table(report: SearchReport) -> TextTable:
    """The winner's answers on the test set against each other member's."""
    rows = []
    for pair in report.paired:
        if report.winner not in (pair.one, pair.other):
            continue
        other, won, lost = pair.other, pair.lost, pair.won
        if report.winner == pair.other:
            other, won, lost = pair.one, pair.won, pair.lost
        rows.append((str(other), f"{won:,}", f"{lost:,}", f"{pair.p:.2g}"))
    return TextTable(
        f"Trial {report.winner} against each other one",
        ("trial", f"only {report.winner}\nis right", "only this one\nis right", "p"),
        tuple(rows),
        f"Answers on the same {report.test_samples or 0:,} samples of the test set. p is of "
        "McNemar's exact test, after Holm's correction for all pairs that were compared.",
    )


def importance_table(report: SearchReport) -> TextTable:
    """How much each parameter matters to each objective, in percent."""
    known = [one for one in report.importance if one.shares]
    names = list(dict.fromkeys(name for one in known for name in one.shares))
    rows = (
        (name, *(f"{100 * one.shares[name]:.0f}" if name in one.shares else "-" for one in known))
        for name in names
    )
    return TextTable(
        "Importance of the parameters",
        ("parameter", *(f"{one.objective}\n(%)" for one in known)),
        tuple(rows),
        "How much of what sets the best tenth of the trials apart each parameter explains alone "
        "(PED-ANOVA).",
    )


def reasons_table(report: SearchReport) -> TextTable:
    """What did not get to the end, and why, the most frequent reason first."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in report.trials:
        if row.state not in ("done", "running"):
            found[row.state, row.reason or "no reason is known"].append(row.number)
    ranked = sorted(found.items(), key=lambda item: -len(item[1]))
    return TextTable(
        "What failed, and why",
        ("trials", "state", "reason", "which"),
        tuple(
            (f"{len(numbers):,}", state, reason, _numbers(numbers))
            for (state, reason), numbers in ranked
        ),
    )


def trial_tables(report: SearchReport) -> Iterator[TextTable]:
    """Every trial, a table for each way in which they ended."""
    for state in get_args(State):
        rows = [row for row in report.trials if row.state == state]
        if not rows:
            continue
        names = _parameters(rows)
        metrics = list(
            dict.fromkeys([*shown_metrics(report), *(m for r in rows for m in r.values)])
        )
        told = [one for one in ("reason", "measured_on") if any(getattr(r, one) for r in rows)]
        titles = {"reason": "reason", "measured_on": "board or CPU"}
        yield TextTable(
            f"{state}: {len(rows):,}",
            ("trial", *map(_narrow, metrics), *names, "stage", "seconds", "worker",
             *(titles[one] for one in told)),
            tuple(
                (
                    *(str(row.number), *(sure_text(row, metric) for metric in metrics)),
                    *_chosen(row, names),
                    *(row.stage or "-", f"{row.seconds:,.0f}", row.worker or "-"),
                    *(getattr(row, one) or "-" for one in told),
                )
                for row in rows
            ),
        )  # fmt: skip


def cards(report: SearchReport) -> Iterator[str]:
    """What was searched for, on what, and with what data, a line each."""
    yield f"Goals: {'; '.join((*report.objectives, *report.limits))}"
    counts = Counter(row.state for row in report.trials)
    states = ", ".join(f"{counts[state]:,} {state}" for state in get_args(State) if counts[state])
    yield f"Trials: {len(report.trials):,}{': ' if states else ''}{states}"
    if report.validation_samples is not None:
        yield (
            f"During the search: accuracy was measured on {report.validation_samples:,} samples "
            "held back from training; the best of many is a lucky one, so that its value is too "
            "high"
        )
    yield f"Test set: {_test_set(report)}"
    machines = Counter(row.measured_on for row in report.trials if row.measured_on)
    for machine, count in machines.most_common():
        yield f"Measured on {machine}: {count:,} trials"
    if len(machines) > 1:
        yield "Boards: results of different boards or CPUs are never compared"
    yield f"Data: {report.data}"
    yield f"Made by: {report.command}"


def _test_set(report: SearchReport) -> str:
    if report.test_samples is None:
        return "not looked at"
    members = sum(member.test_accuracy is not None for member in report.front)
    whom = (
        f"the {members} trials of the front alone" if members != 1 else "the one trial of the front"
    )
    return f"looked at after the search, for {whom}, once each: {report.test_samples:,} samples"


def _sure(metric: str, value: float | None, low: float | None, high: float | None) -> str:
    interval = interval_text(metric, low, high)
    return f"{value_text(metric, value)} ({interval})" if interval else value_text(metric, value)


def _result(report: SearchReport, row: Row) -> str:
    if row.state != "done":
        return row.state
    if row.number == report.winner:
        return "winner"
    return "equal" if row.number in report.equals else ""


def _narrow(metric: str) -> str:
    """A metric's heading, its board on a line of its own."""
    return heading(metric).replace(" on ", "\non ")


def _parameters(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.parameters))


def _chosen(row: Row, names: Sequence[str]) -> list[str]:
    values = (row.parameters.get(name, "-") for name in names)
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]


def _numbers(numbers: Sequence[int]) -> str:
    more = ", …" if len(numbers) > _MAX_NUMBERS else ""
    return ", ".join(map(str, numbers[:_MAX_NUMBERS])) + more
