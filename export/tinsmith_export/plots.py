"""The plots of an export's report, as inline SVG; importing this module imports matplotlib."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tinsmith_export.ir.bits import FLOAT_BITS, NARROW_BITS, WEIGHT_BITS
from tinsmith_export.metrics import wilson
from tinsmith_export.results import Exported, Sensitivity
from tinsmith_export.summary import shortened
from tinsmith_runtime.bundle import Stage
from tinsmith_runtime.errors import printable

_COLORS = {WEIGHT_BITS: "#1f5fa8", NARROW_BITS: "#8db8e8", FLOAT_BITS: "#c4620f", None: "#8a94a0"}
_BITS: dict[int | None, str] = {
    WEIGHT_BITS: f"{WEIGHT_BITS}-bit weights",
    NARROW_BITS: f"{NARROW_BITS}-bit weights",
    FLOAT_BITS: "float weights",
    None: "no weights",
}
_WIDTH_IN, _ROW_IN = 4.7, 0.17
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinsmith",
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


def plots(exported: Exported) -> Iterator[Plot]:
    """The plots of an export."""
    rows = exported.sensitivities
    weighted = [row for row in rows if row.weight_range]
    with mpl.rc_context(_STYLE):
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
    figure, axes = _figure(0.9 + 0.3 * len(stages))
    for row, stage in enumerate(stages):
        if stage.accuracy is None:
            continue
        low, high = wilson(round(stage.accuracy * stage.count), stage.count)
        axes.plot([100 * low, 100 * high], [row, row], color="#8db8e8", linewidth=6)
        axes.plot(100 * stage.accuracy, row, "o", color="#1f5fa8")
    title, label = "Accuracy", "% of the answers are right; the bar is the 95 % interval"
    caption = f"{stages[0].count:,} inputs that nothing was tuned on."
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
                axes.plot(value, row, "o", color="#1f5fa8")
    axes.set_xlabel(label)
    axes.margins(x=0.1)
    _name_rows(axes, [stage.name for stage in stages])
    return Plot(title, caption, _svg(figure))


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
    return Plot(title, caption, _svg(figure))


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
    axes.axvline(0, color="#8a94a0", linewidth=0.8)
    return Plot(title, caption, _svg(figure))


def _layer_figure(rows: Sequence[Sensitivity]) -> tuple[Figure, Axes]:
    figure, axes = _figure(1.0 + _ROW_IN * len(rows))
    _name_rows(axes, [shortened(printable(row.layer), 24) for row in rows], 7.5)
    shown = [bits for bits in _BITS if any(row.weight_bits == bits for row in rows)]
    handles = [Patch(color=_COLORS[bits], label=_BITS[bits]) for bits in shown]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return figure, axes


def _figure(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _name_rows(axes: Axes, names: Sequence[str], font_size: float = 9) -> None:
    """Names the rows, the first on top."""
    # A `$` in a layer's name would begin a formula.
    axes.set_yticks(range(len(names)), names, fontsize=font_size, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    # Inline SVG starts at its tag; size comes from the page.
    return text.getvalue()[text.getvalue().index("<svg") :]
