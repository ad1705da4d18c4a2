"""The plots of the HTML report, as inline SVG; importing this module imports matplotlib.

They are small, so that their text can be read on a phone, and transparent.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tinsmith_bench.report import Report, Variant
from tinsmith_runtime.errors import printable

# Light for the float model, dark for the int8 one of the same engine, which follows it.
_COLORS = (
    *("#8db8e8", "#1f5fa8", "#f3b981", "#c4620f", "#9ed29a", "#2f7d32"),
    *("#c9b3e6", "#6a3fa0", "#e8a5b8", "#a82d55", "#b9b9b9", "#5a5a5a"),
)
_PARTS = {
    "interpreter_ms": ("interpreter", "#c3ccd6"),
    "import_ms": ("import", "#8da2b8"),
    "load_ms": ("load", "#1f5fa8"),
    "first_ms": ("first call", "#c4620f"),
}
_WIDTH_IN = 4.7
_MAX_NAME = 40
# A matrix of more classes cannot be read.
MAX_CONFUSION = 30
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinsmith",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#3b4652",
    "xtick.color": "#3b4652",
    "ytick.color": "#3b4652",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Plot:
    """A picture: its title, what it shows, and its SVG."""

    title: str
    caption: str
    svg: str


def plots(report: Report) -> Iterator[Plot]:
    """The plots of a report."""
    with mpl.rc_context(_STYLE):
        yield _latencies(report)
        yield _distributions(report)
        yield from _tradeoffs(report)
        if any(one.cold_start for one in report.variants):
            yield _cold_starts(report)


def confusions(report: Report) -> Iterator[Plot]:
    """A confusion matrix for each variant; variants with the same one share it."""
    if len(report.dataset.labels) > MAX_CONFUSION:
        return
    same: dict[tuple[tuple[int, int, int], ...], list[str]] = {}
    for one in report.variants:
        if one.accuracy:
            same.setdefault(one.accuracy.confusion, []).append(one.name)
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        for confusion, names in same.items():
            yield _confusion(confusion, names, report.dataset.labels)


def _latencies(report: Report) -> Plot:
    """Boxes by hand: the report holds percentiles, not every call."""
    figure, axes = _figure(0.9 + 0.42 * len(report.variants))
    for row, (one, color) in enumerate(_colored(report)):
        latency = one.speed.latency_us
        q = latency.percentiles
        axes.plot([q[1], q[99]], [row, row], color=color, linewidth=1.5, zorder=2)
        axes.plot([q[10], q[90]], [row, row], color=color, linewidth=9, solid_capstyle="butt")
        axes.plot(latency.min, row, "|", color=color, markersize=10)
        axes.plot(latency.p50, row, "o", color="white", markeredgecolor="#222", markersize=5)
        axes.annotate(
            f"{latency.p50:,.0f}",
            (q[99], row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color="#222",
        )
    _rows(axes, report)
    axes.margins(x=0.12)
    _log_microseconds(axes)
    axes.set_xlabel("µs for one input, raw input to answer")
    return Plot(
        "How long one input takes",
        "The dot is the median, printed at the end; the bar holds 80 % of the calls, the line "
        "98 %, the tick is the fastest.",
        _svg(figure),
    )


def _distributions(report: Report) -> Plot:
    figure, axes = _figure(3.1)
    for one, color in _colored(report):
        q = one.speed.latency_us.percentiles
        axes.plot(q[:100], range(100), color=color, linewidth=1.8, label=_label(one.name))
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of the calls that were faster")
    axes.set_xlabel("µs for one input")
    _log_microseconds(axes)
    _legend(figure, axes)
    return Plot(
        "Latency distributions",
        "A steep line is a steady engine; a tail to the right is what a user feels as a stutter.",
        _svg(figure),
    )


def _tradeoffs(report: Report) -> Iterator[Plot]:
    quality = {one.id: _quality(one) for one in report.variants}
    known = [(one, color) for one, color in _colored(report) if quality[one.id]]
    if not known:
        return
    what = "accuracy in %" if known[0][0].accuracy else "mean absolute error"
    if not known[0][0].accuracy and not known[0][0].regression:
        what = "agreement with float in %"
    for title, label, size in (
        (
            f"{what.split(' in ')[0].capitalize()} against latency",
            "µs for one input (median)",
            False,
        ),
        (f"{what.split(' in ')[0].capitalize()} against size", "file in kB", True),
    ):
        figure, axes = _figure(3.1)
        for one, color in known:
            value, low, high = quality[one.id] or (0, 0, 0)
            x = one.size_bytes / 1e3 if size else one.speed.latency_us.p50
            axes.errorbar(
                x,
                value,
                yerr=[[value - low], [high - value]],
                fmt="none",
                color=color,
                capsize=3,
                elinewidth=1.2,
            )
            axes.plot(x, value, "o", color=color, markersize=8, label=_label(one.name))
        axes.set_xlim(left=0)
        axes.margins(x=0.15)
        axes.set_xlabel(label)
        axes.set_ylabel(what)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _legend(figure, axes)
        yield Plot(
            title,
            "Bars are 95 % intervals: where they overlap widely, only a paired test can tell two "
            "variants apart.",
            _svg(figure),
        )


def _quality(one: Variant) -> tuple[float, float, float] | None:
    if one.accuracy:
        share, scale = one.accuracy.top1, 100
    elif one.regression:
        share, scale = one.regression.mae, 1
    elif one.fidelity and one.fidelity.agreement:
        share, scale = one.fidelity.agreement, 100
    else:
        return None
    return scale * share.value, scale * share.low, scale * share.high


def _cold_starts(report: Report) -> Plot:
    started = [one for one in report.variants if one.cold_start]
    figure, axes = _figure(1.3 + 0.42 * len(started))
    for row, one in enumerate(started):
        left = 0.0
        for field, (label, color) in _PARTS.items():
            width = getattr(one.cold_start, field).value
            axes.barh(
                row, width, left=left, color=color, height=0.6, label=label if not row else None
            )
            left += width
        axes.annotate(
            f"{left:,.0f}",
            (left, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color="#222",
        )
    _rows(axes, report, started)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.14)
    axes.set_xlabel("ms from starting the process to the first answer")
    _legend(figure, axes)
    return Plot(
        "Cold start",
        "A fresh process each: the Python interpreter, importing the runtime, loading bundle and "
        "engine, the first call. Medians.",
        _svg(figure),
    )


def _confusion(
    confusion: Sequence[tuple[int, int, int]], names: Sequence[str], labels: Sequence[str]
) -> Plot:
    size = len(labels)
    counts = np.zeros((size, size), np.int64)
    for label, guess, count in confusion:
        counts[label, guess] = count
    mistakes = np.where(np.eye(size, dtype=bool), 0, counts)
    figure, axes = _figure(_WIDTH_IN * 0.92)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(2, mistakes.max()) * 1.6)
    font = 8 if size <= 12 else 5.5
    for row, column in zip(*np.nonzero(counts), strict=True):
        right = row == column
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=font * (0.8 if right else 1),
            color="#8a94a0" if right else "#111",
        )
    labels = list(map(_shortened, labels))
    axes.set_xticks(range(size), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(size), labels)
    axes.tick_params(length=0, labelsize=font + 0.5)
    axes.set_xlabel("what the model says")
    axes.set_ylabel("what it is")
    return Plot(
        ", ".join(names),
        f"{mistakes.sum():,} mistakes in {counts.sum():,} samples; rows are the truth.",
        _svg(figure),
    )


def _figure(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _colored(report: Report) -> Iterator[tuple[Variant, str]]:
    for index, one in enumerate(report.variants):
        yield one, _COLORS[index % len(_COLORS)]


def _rows(axes: Axes, report: Report, shown: Sequence[Variant] | None = None) -> None:
    """Names the rows, the first on top."""
    variants = report.variants if shown is None else shown
    axes.set_yticks(range(len(variants)), [_shortened(one.name) for one in variants])
    axes.set_ylim(len(variants) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _label(name: str) -> str:
    """A name for the legend; matplotlib leaves out those that begin with an underscore."""
    return f"{' ' * name.startswith('_')}{_shortened(name)}"


def _shortened(name: str) -> str:
    """A name that leaves room for a plot."""
    text = printable(name)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"


def _log_microseconds(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high < 20 * low else (1, 3) if high < 200 * low else (1,)
    axes.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda us, _: f"{us:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, axes: Axes) -> None:
    """Above the plot, where it covers nothing."""
    handles, _ = axes.get_legend_handles_labels()
    columns = 4 if len(handles) > 3 and sum(len(str(h.get_label())) for h in handles) < 45 else 2
    figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=8)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with warnings.catch_warnings():
        # The text is drawn by the browser, which has the letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    # Inline SVG starts at its tag; size comes from the page.
    return text.getvalue()[text.getvalue().index("<svg") :]
