"""The plots of an export's report, as inline SVG; importing this module imports matplotlib."""

from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tinsmith_export.results import Exported, Sensitivity
from tinsmith_export.summary import shortened
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
from tinsmith_report.statistics import wilson
from tinsmith_runtime.errors import printable
from tinsmith_runtime.manifest import Rung

_COLORS = {8: DARK, 7: LIGHT, 32: WARM, None: NEUTRAL}
_BITS = {8: "8-bit weights", 7: "7-bit weights", 32: "float weights", None: "no weights"}
_ROW_IN = 0.17


def plots(exported: Exported) -> Iterator[Plot]:
    """The plots of an export."""
    rows = exported.sensitivities
    weighted = [row for row in rows if row.weight_range]
    with mpl.rc_context(STYLE):
        yield _ladder(exported.manifest.quality.ladder)
        yield _bars(
            rows,
            [row.sqnr_db for row in rows],
            "dB",
            "SQNR of each layer's output",
            "Power of the output over that of its error, all layers quantized, on inputs held "
            "back: 6 dB are one bit. Where it falls steeply, accuracy is lost.",
        )
        if any(row.alone_sqnr_db is not None for row in rows):
            yield _bars(
                rows,
                [row.alone_sqnr_db for row in rows],
                "dB",
                "SQNR of the model's output, one layer quantized",
                "Every other layer is float. The shortest bars are the layers to keep float.",
            )
        yield _ranges(
            weighted,
            [row.weight_range or (0, 0) for row in weighted],
            "Weights",
            "From the smallest to the largest weight, before rounding, and zero.",
        )
        yield _ranges(
            rows,
            [row.output_range for row in rows],
            "Outputs",
            "What the int8 codes stand for, from -128 to 127.",
        )


def _ladder(ladder: Sequence[Rung]) -> Plot:
    figure, axes = new_figure(0.9 + 0.3 * len(ladder))
    for row, rung in enumerate(ladder):
        if rung.accuracy is None:
            continue
        low, high = wilson(round(rung.accuracy * rung.count), rung.count)
        axes.plot([100 * low, 100 * high], [row, row], color=LIGHT, linewidth=6)
        axes.plot(100 * rung.accuracy, row, "o", color=DARK)
    title, label = "Accuracy", "% of the answers are right; the bar is the 95 % interval"
    caption = f"{ladder[0].count:,} inputs that nothing was tuned on."
    if ladder[0].accuracy is None:
        values = [
            100 * rung.agreement if rung.agreement is not None else rung.sqnr_db for rung in ladder
        ]
        agreed = ladder[0].agreement is not None
        title = "Agreement with float" if agreed else "SQNR against float"
        label = "% of the answers are the float model's" if agreed else "dB"
        for row, value in enumerate(values):
            if value is not None:
                axes.plot(value, row, "o", color=DARK)
    axes.set_xlabel(label)
    axes.margins(x=0.1)
    name_rows(axes, [rung.stage for rung in ladder])
    axes.grid(axis="y", visible=False)
    return Plot(title, caption, to_svg(figure))


def _bars(
    rows: Sequence[Sensitivity],
    values: Sequence[float | None],
    label: str,
    title: str,
    caption: str,
) -> Plot:
    figure, axes = _layer_figure(rows)
    colors = [_COLORS[row.weight_bits] for row in rows]
    axes.barh(range(len(rows)), [value or 0 for value in values], color=colors, height=0.7)
    axes.set_xlabel(label)
    return Plot(title, caption, to_svg(figure))


def _ranges(
    rows: Sequence[Sensitivity], ranges: Sequence[tuple[float, float]], title: str, caption: str
) -> Plot:
    figure, axes = _layer_figure(rows)
    lows = [min(low, 0) for low, _ in ranges]
    widths = [max(high, 0) - low for (_, high), low in zip(ranges, lows, strict=True)]
    colors = [_COLORS[row.weight_bits] for row in rows]
    axes.barh(range(len(rows)), widths, left=lows, color=colors, height=0.7)
    largest = [max(-low, high) for low, high in ranges]
    if max(largest) > 20 * min(largest):
        axes.set_xscale("symlog", linthresh=max(min(largest), max(largest) / 1000))
        caption += " The scale is logarithmic away from zero."
    axes.axvline(0, color=NEUTRAL, linewidth=0.8)
    return Plot(title, caption, to_svg(figure))


def _layer_figure(rows: Sequence[Sensitivity]) -> tuple[Figure, Axes]:
    figure, axes = new_figure(1.0 + _ROW_IN * len(rows))
    name_rows(axes, [shortened(printable(row.layer), 24) for row in rows], 7.5)
    axes.grid(axis="y", visible=False)
    shown = [bits for bits in _BITS if any(row.weight_bits == bits for row in rows)]
    handles = [Patch(color=_COLORS[bits], label=_BITS[bits]) for bits in shown]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return figure, axes
