"""The style of all plots, and what they share; importing this module imports matplotlib.

They are small, so that their text can be read on a phone, and transparent.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

WIDTH_IN = 4.7
# Light for the first of two, dark for the second.
PAIRS = (
    *("#8db8e8", "#1f5fa8", "#f3b981", "#c4620f", "#9ed29a", "#2f7d32"),
    *("#c9b3e6", "#6a3fa0", "#e8a5b8", "#a82d55", "#b9b9b9", "#5a5a5a"),
)
LIGHT, DARK, WARM, NEUTRAL = "#8db8e8", "#1f5fa8", "#c4620f", "#8a94a0"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinsmith",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9,
    "axes.edgecolor": NEUTRAL,
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
"""For `matplotlib.rc_context`."""


@dataclass(frozen=True)
class Plot:
    """A picture: its title, what it shows, and its SVG."""

    title: str
    caption: str
    svg: str


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> tuple[Figure, Axes]:
    """An empty figure with one plot."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.subplots()


def name_rows(axes: Axes, names: Sequence[str], font_size: float = 9) -> None:
    """Names the rows, the first on top."""
    axes.set_yticks(range(len(names)), names, fontsize=font_size)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def draw_confusion_matrix(axes: Axes, counts: NDArray[np.int64], labels: Sequence[str]) -> int:
    """Draws how many samples of each class were taken for which; mistakes stand out.

    Args:
        axes: where to.
        counts: `int64 (classes, classes)`: rows are the truth, columns what the model says.
        labels: the name of each class.

    Returns:
        How many mistakes there are.
    """
    size = len(labels)
    mistakes = np.where(np.eye(size, dtype=bool), 0, counts)
    # Were the diagonal on the same scale, a handful of mistakes would not be seen beside it.
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(2, int(mistakes.max())) * 1.6)
    font = 8 if size <= 12 else 5.5
    for row, column in np.argwhere(counts > 0):
        right = row == column
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=font * (0.8 if right else 1),
            color=NEUTRAL if right else "#111",
        )
    axes.set_xticks(range(size), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(size), labels)
    axes.tick_params(length=0, labelsize=font + 0.5)
    axes.grid(visible=False)
    axes.set_xlabel("what the model says")
    axes.set_ylabel("what it is")
    return int(mistakes.sum())


def to_svg(figure: Figure) -> str:
    """A figure as SVG for the inside of a page, the same every time."""
    text = io.StringIO()
    with warnings.catch_warnings():
        # The text is drawn by the browser, which has the letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    # Inline SVG starts at its tag; size comes from the page.
    return text.getvalue()[text.getvalue().index("<svg") :]
