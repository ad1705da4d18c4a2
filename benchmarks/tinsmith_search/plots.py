"""The plots of a search's page, as inline SVG; importing this module imports matplotlib."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from tinsmith_report.plots import (
    DARK,
    LIGHT,
    NEUTRAL,
    STYLE,
    WARM,
    Plot,
    name_rows,
    new_figure,
    to_svg,
)
from tinsmith_runtime.errors import printable
from tinsmith_search.history import HYPERVOLUME
from tinsmith_search.importance import Importance
from tinsmith_search.report import SearchReport
from tinsmith_search.rows import Row
from tinsmith_search.tables import objective_metrics
from tinsmith_search.units import heading, is_timed, scaled

_MAX_NAME = 24
_ROW_IN = 0.22
_MAX_MACHINES = 4
_LOG_FROM = 20.0  # the largest value of a front by its smallest
_AROUND = 0.6  # of the front's width is shown beside it, on either side
_EDGE = 0.1  # of that, where no trial is farther out
_ALONE = 0.2  # of its value, where the front is one trial


def front_plots(report: SearchReport) -> Iterator[Plot]:
    """The first objective against each other one, and against the size where there is no other.

    Latencies of each board or CPU have a plot of their own.
    """
    first, *others = objective_metrics(report)
    if not others and first != "size_bytes":
        others = ["size_bytes"]
    with mpl.rc_context(STYLE):
        for other in others:
            known = [row for row in report.trials if {first, other} <= row.values.keys()]
            timed = is_timed(first) or is_timed(other)
            machines = Counter(row.measured_on if timed else None for row in known)
            for machine, _ in machines.most_common(_MAX_MACHINES):
                shown = [row for row in known if not timed or row.measured_on == machine]
                yield _front(report, shown, other, first, machine)


def _front(report: SearchReport, rows: Sequence[Row], x: str, y: str, machine: str | None) -> Plot:
    members = {member.number for member in report.front}
    groups = (
        ("not to the end", NEUTRAL, [row for row in rows if row.state != "done"]),
        ("done", LIGHT, [row for row in rows if row.state == "done" and row.number not in members]),
        ("front", DARK, [row for row in rows if row.number in members]),
        ("winner", WARM, [row for row in rows if row.number == report.winner]),
    )
    figure, axes = new_figure(3.3)
    for label, color, group in groups:
        if label == "front":
            _intervals(axes, group, x, y)
        if group:
            axes.plot(
                *([scaled(name, row.values[name]) for row in group] for name in (x, y)),
                *("x" if color == NEUTRAL else "o",),
                color=color,
                markersize=3.5 if label in ("not to the end", "done") else 6.5,
                label=label,
                linestyle="none",
            )
    for limit in report.limits:
        metric, _, bound = limit.rsplit(" ", 2)
        if metric in (x, y):
            line = axes.axvline if metric == x else axes.axhline
            line(scaled(metric, float(bound)), color=WARM, linewidth=0.8, linestyle="--")
    axes.set_xlabel(heading(x))
    axes.set_ylabel(heading(y))
    axes.margins(0.08)
    for name, metric in (("x", x), ("y", y)):
        _look_at(axes, name, metric, groups[2][2])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    where = f" on {printable(machine)}" if machine and "latency" in x + y else ""
    return Plot(
        f"{heading(y)} against {heading(x)}{where}",
        "As measured during the search. Bars are 95 % intervals, dashed lines the limits. Trials "
        "far from the front are outside the picture.",
        to_svg(figure),
    )


def _intervals(axes: Axes, rows: Sequence[Row], x: str, y: str) -> None:
    for row in rows:
        here = [scaled(name, row.values[name]) for name in (x, y)]
        ends = [
            [scaled(name, end) for end in row.intervals[name]] if name in row.intervals else None
            for name in (x, y)
        ]
        if ends[0]:
            axes.plot(ends[0], [here[1]] * 2, color=DARK, linewidth=1)
        if ends[1]:
            axes.plot([here[0]] * 2, ends[1], color=DARK, linewidth=1)


def importance_plots(report: SearchReport) -> Iterator[Plot]:
    """What matters to each objective, where it is known."""
    with mpl.rc_context(STYLE):
        for one in report.importance:
            if one.shares:
                yield _importance(one)


def _importance(one: Importance) -> Plot:
    figure, axes = new_figure(0.8 + _ROW_IN * len(one.shares))
    names = [printable(name) for name in one.shares]
    name_rows(axes, [f"{n[: _MAX_NAME - 1]}…" if len(n) > _MAX_NAME else n for n in names])
    axes.barh(range(len(names)), [100 * share for share in one.shares.values()], color=DARK)
    axes.set_xlabel("% of what sets the best tenth apart")
    axes.grid(axis="y", visible=False)
    return Plot(
        f"What matters to {one.objective}", f"Learned from {one.trials:,} trials.", to_svg(figure)
    )


def history_plots(report: SearchReport) -> Iterator[Plot]:
    """The best so far, over trials and over time; none where no trial keeps to the limits."""
    measure = report.history.measure
    known = [step for step in report.history.steps if step.value is not None]
    if not known:
        return
    percent = measure == HYPERVOLUME
    values = [
        100 * (step.value or 0) if percent else scaled(measure, step.value or 0) for step in known
    ]
    what = "hypervolume (%)" if percent else f"best {heading(measure)} so far"
    caption = "The part that the front dominates of the box that holds all done trials."
    unit, divisor = _time_unit(known[-1].seconds)
    for title, label, places in (
        ("trials", "trials that have ended", [float(step.ended) for step in known]),
        ("time", unit, [step.seconds / divisor for step in known]),
    ):
        with mpl.rc_context(STYLE):
            figure, axes = new_figure(2.6)
            axes.plot(places, values, color=DARK, drawstyle="steps-post", linewidth=1.8)
            axes.plot(places[-1], values[-1], "o", color=DARK, markersize=5)
            axes.set_xlabel(label)
            axes.set_ylabel(what)
            axes.margins(0.08)
            if not percent:
                axes.yaxis.set_major_formatter(FuncFormatter(_number))
            svg = to_svg(figure)
        yield Plot(f"{what} over {title}", caption if percent else "", svg)


def _time_unit(seconds: float) -> tuple[str, float]:
    for name, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{name} since the first trial", length
    return "seconds since the first trial", 1


def _look_at(axes: Axes, name: str, metric: str, members: Sequence[Row]) -> None:
    """Shows the front from near: a network that learned nothing would press it into a corner."""
    axis: Axis = axes.xaxis if name == "x" else axes.yaxis
    values = [scaled(metric, row.values[metric]) for row in members]
    if values:
        low, high = min(values), max(values)
        around = _AROUND * (high - low) or _ALONE * abs(low)
        first, last = axis.get_data_interval()
        low, high = (
            max(low - around, first - _EDGE * around),
            min(high + around, last + _EDGE * around),
        )
        axis.set_major_locator(MaxNLocator(5))
        if 0 < _LOG_FROM * min(values) < max(values):
            axes.set(**{f"{name}scale": "log"})
            low, high = min(values) / 2, 2 * max(values)
        axes.set(**{f"{name}lim": (low, high)})
    if metric != "accuracy":
        axis.set_major_formatter(FuncFormatter(_number))
        axis.set_minor_formatter(NullFormatter())


def _number(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if math.isclose(value, round(value), abs_tol=1e-9) else f"{value:,.4g}"
