"""The plots of an export's report, as inline SVG; importing this module imports matplotlib."""

from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tinsmith_export.ir.bits import FLOAT_BITS, NARROW_BITS, WEIGHT_BITS
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
from tinsmith_runtime.bundle import Stage
from tinsmith_runtime.errors import printable

_COLORS = {WEIGHT_BITS: DARK, NARROW_BITS: LIGHT, FLOAT_BITS: WARM, None: NEUTRAL}
_BITS: dict[int | None, str] = {
    WEIGHT_BITS: f"{WEIGHT_BITS}-bit weights",
    NARROW_BITS: f"{NARROW_BITS}-bit weights",
    FLOAT_BITS: "float weights",
    None: "no weights",
}
_ROW_IN = 0.17


def plots(exported: Exported) -> Iterator[Plot]:
    """The plots of an export."""
    rows = exported.sensitivities
    weighted = [row for row in rows if row.weight_range]
    with mpl.rc_context(STYLE):
        yield _stages(exported.manifest.quality.stages)
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


def _stages(stages: Sequence[Stage]) -> Plot:
    figure, axes = new_figure(0.9 + 0.3 * len(stages))
    for row, stage in enumerate(stages):
        if stage.accuracy is None:
            continue
        low, high = wilson(round(stage.accuracy * stage.count), stage.count)
        axes.plot([100 * low, 100 * high], [row, row], color=LIGHT, linewidth=6)
        axes.plot(100 * stage.accuracy, row, "o", color=DARK)
    title, label = "Accuracy", "% of the answers are right; the bar is the 95 % interval"
    caption = f"{stages[0].count:,} evaluation inputs."
    if stages[0].accuracy is None:
        values = [
            100 * stage.agreement if stage.agreement is not None else stage.sqnr_db
            for stage in stages
        ]
        agreed = stages[0].agreement is not None
        title = "Agreement with float" if agreed else "SQNR against float"
        label = "% of the answers are the float model's" if agreed else "dB"
        for row, value in enumerate(values):
            if value is not None:
                axes.plot(value, row, "o", color=DARK)
    axes.set_xlabel(label)
    axes.margins(x=0.1)
    name_rows(axes, [stage.name for stage in stages])
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
