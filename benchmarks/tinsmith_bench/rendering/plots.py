"""The plots of the HTML report, as inline SVG; importing this module imports matplotlib."""

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tinsmith_bench.report_data import Report, Variant
from tinsmith_report.plots import (
    PAIRS,
    STYLE,
    WIDTH_IN,
    Plot,
    draw_confusion_matrix,
    name_rows,
    new_figure,
    to_svg,
)
from tinsmith_runtime.errors import printable

_PARTS = {
    "interpreter_ms": ("interpreter", "#c3ccd6"),
    "import_ms": ("import", "#8da2b8"),
    "load_ms": ("load", "#1f5fa8"),
    "first_ms": ("first call", "#c4620f"),
}
_MAX_NAME = 40
# A matrix of more classes cannot be read.
MAX_CONFUSION = 30


def plots(report: Report) -> Iterator[Plot]:
    """The plots of a report."""
    with mpl.rc_context(STYLE):
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
    with mpl.rc_context(STYLE):
        for confusion, names in same.items():
            yield _confusion(confusion, names, report.dataset.labels)


def _latencies(report: Report) -> Plot:
    """Boxes by hand: the report holds percentiles, not every call."""
    figure, axes = new_figure(0.9 + 0.42 * len(report.variants))
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
    _rows(axes, report.variants)
    axes.margins(x=0.12)
    _log_microseconds(axes)
    axes.set_xlabel("µs for one input, raw input to answer")
    return Plot(
        "How long one input takes",
        "The dot is the median, printed at the end; the bar holds 80 % of the calls, the line "
        "98 %, the tick is the fastest.",
        to_svg(figure),
    )


def _distributions(report: Report) -> Plot:
    figure, axes = new_figure(3.1)
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
        to_svg(figure),
    )


def _tradeoffs(report: Report) -> Iterator[Plot]:
    quality = {one.id: _quality(one) for one in report.variants}
    known = [(one, color) for one, color in _colored(report) if quality[one.id]]
    if not known:
        return
    what = "accuracy in %" if known[0][0].accuracy else "mean absolute error"
    if known[0][0].detection:
        what = "mAP@0.5 in %"
    elif not known[0][0].accuracy and not known[0][0].regression:
        what = "agreement with float in %"
    quality_name = what.split(" in ")[0]
    if not known[0][0].detection:
        quality_name = quality_name.capitalize()
    for title, label, size in (
        (
            f"{quality_name} against latency",
            "µs for one input (median)",
            False,
        ),
        (f"{quality_name} against size", "file in kB", True),
    ):
        figure, axes = new_figure(3.1)
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
            to_svg(figure),
        )


def _quality(one: Variant) -> tuple[float, float, float] | None:
    if one.accuracy:
        share, scale = one.accuracy.top1, 100
    elif one.detection:
        share, scale = one.detection.map50, 100
    elif one.regression:
        share, scale = one.regression.mae, 1
    elif one.fidelity and one.fidelity.agreement:
        share, scale = one.fidelity.agreement, 100
    else:
        return None
    return scale * share.value, scale * share.low, scale * share.high


def _cold_starts(report: Report) -> Plot:
    started = [one for one in report.variants if one.cold_start]
    figure, axes = new_figure(1.3 + 0.42 * len(started))
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
    _rows(axes, started)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.14)
    axes.set_xlabel("ms from starting the process to the first answer")
    _legend(figure, axes)
    return Plot(
        "Cold start",
        "A fresh process each: the Python interpreter, importing the runtime, loading bundle and "
        "engine, the first call. Medians.",
        to_svg(figure),
    )


def _confusion(
    confusion: Sequence[tuple[int, int, int]], names: Sequence[str], labels: Sequence[str]
) -> Plot:
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for label, guess, count in confusion:
        counts[label, guess] = count
    figure, axes = new_figure(WIDTH_IN * 0.92)
    mistakes = draw_confusion_matrix(axes, counts, list(map(_shortened, labels)))
    return Plot(
        ", ".join(names),
        f"{mistakes:,} mistakes in {counts.sum():,} samples; rows are the truth.",
        to_svg(figure),
    )


def _colored(report: Report) -> Iterator[tuple[Variant, str]]:
    """Each variant with its colour: those of an engine share a pair, float in the light one."""
    pairs: dict[tuple[str, str], int] = {}
    used: set[str] = set()
    for one in report.variants:
        pair = pairs.setdefault((one.bundle, one.engine), len(pairs))
        color = PAIRS[(2 * pair + (one.precision != "float")) % len(PAIRS)]
        if color in used:  # competitors on the same engine
            color = next((other for other in PAIRS if other not in used), color)
        used.add(color)
        yield one, color


def _rows(axes: Axes, variants: Sequence[Variant]) -> None:
    name_rows(axes, [_shortened(one.name) for one in variants])


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
