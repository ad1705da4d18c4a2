"""The pictures of a run folder, drawn by matplotlib without a screen.

Importing this module imports matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from tinsmith_report.plots import DARK, NEUTRAL, WARM, draw_confusion_matrix, new_figure
from tinsmith_train.history import Epoch

_DPI = 120
_TRAIN, _VAL, _BEST, _WRONG = DARK, WARM, NEUTRAL, "#c0392b"
_COLUMNS, _ROWS = 10, 6
_SCENE_COLUMNS, _SCENES = 6, 24
_SURE = 0.5  # how probable a box is that is drawn


def draw_curves(epochs: Sequence[Epoch], best: Epoch, title: str, path: Path) -> None:
    """Draws loss and accuracy, epoch by epoch, and marks the epoch that was kept."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(f"{title}: kept epoch {best.number} of {len(epochs)}")
    loss, accuracy = figure.subplots(1, 2)
    numbers = [epoch.number for epoch in epochs]
    _draw_line(loss, numbers, [e.loss for e in epochs], _TRAIN, f"training {best.loss:.4f}")
    _draw_line(
        accuracy, numbers, [e.accuracy for e in epochs], _TRAIN, f"training {best.accuracy:.2%}"
    )
    if best.val_loss is not None and best.val_accuracy is not None:
        val_losses, val_accuracies = zip(
            *((e.val_loss, e.val_accuracy) for e in epochs), strict=True
        )
        _draw_line(loss, numbers, val_losses, _VAL, f"held back {best.val_loss:.4f}")
        _draw_line(accuracy, numbers, val_accuracies, _VAL, f"held back {best.val_accuracy:.2%}")
    loss.set_ylabel("loss per image")
    loss.set_ylim(bottom=0)
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (loss, accuracy):
        axes.axvline(best.number, color=_BEST, linestyle=":", zorder=0)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=True, framealpha=1, edgecolor="white")
    figure.savefig(path, dpi=_DPI)


def _draw_line(
    axes: Axes, numbers: list[int], values: Sequence[float | None], color: str, label: str
) -> None:
    axes.plot(numbers, np.array(values, float), color=color, marker="o", markersize=3, label=label)


def draw_confusion(
    y_test: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Draws how many test images of each class were taken for which; mistakes stand out.

    Args:
        y_test: `int64 (M,)`.
        probabilities: `float32 (M, classes)`.
        labels: the name of each class.
        title: what the model is.
        path: the PNG file.
    """
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, (y_test, probabilities.argmax(axis=1)), 1)
    side = 2.2 + 0.48 * len(labels)
    figure, axes = new_figure(side, side)
    mistakes = draw_confusion_matrix(axes, counts, labels)
    axes.set_title(f"{title}: {mistakes} mistakes in {len(y_test):,} test images")
    figure.savefig(path, dpi=_DPI)


def draw_digits(
    x_test: NDArray[np.uint8],
    y_test: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Draws test images with what the model said, mistakes first, the surest mistake ahead.

    Args:
        x_test: `uint8 (M, H, W, C)`.
        y_test: `int64 (M,)`.
        probabilities: `float32 (M, classes)`.
        labels: the name of each class.
        title: what the model is.
        path: the PNG file.
    """
    said, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != y_test)
    wrong = wrong[np.argsort(-certainty[wrong], kind="stable")]
    order = np.concatenate([wrong, np.flatnonzero(said == y_test)])[: _COLUMNS * _ROWS]
    rows = -(-len(order) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * 1.0, rows * 1.3 + 0.5), layout="constrained")
    figure.suptitle(f"{title}: {len(wrong)} mistakes in {len(y_test):,} test images, in red")
    for axes in figure.subplots(rows, _COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, index in zip(figure.axes, order, strict=False):
        _draw_image(axes, x_test[index])
        name = labels[said[index]]
        if said[index] == y_test[index]:
            axes.set_title(f"{name}  {certainty[index]:.0%}", fontsize=8)
        else:
            truth = labels[y_test[index]]
            axes.set_title(f"{name}  {certainty[index]:.0%}\nis {truth}", fontsize=8, color=_WRONG)
    figure.savefig(path, dpi=_DPI)


def draw_boxes(
    x_test: NDArray[np.uint8],
    y_test: NDArray[np.float32],
    found: Sequence[NDArray[np.float64]],
    labels: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Draws the first test images with the boxes that the model found, and the true ones dashed.

    Args:
        x_test: `uint8 (M, H, W, C)`.
        y_test: boxes, see `tinsmith_data.boxes`.
        found: of each image `(K, 6)`: class, probability, left, top, right, bottom.
        labels: the name of each class.
        title: what the model is.
        path: the PNG file.
    """
    count = min(_SCENES, len(x_test))
    rows = -(-count // _SCENE_COLUMNS)
    figure = Figure(figsize=(_SCENE_COLUMNS * 2.4, rows * 2.5 + 0.5), layout="constrained")
    figure.suptitle(f"{title}: what it found, at {_SURE:.0%} or more; what is there is dashed")
    for axes in figure.subplots(rows, _SCENE_COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, image, truth, boxes in zip(figure.axes, x_test[:count], y_test, found, strict=False):
        _draw_image(axes, image)
        for _, *box in truth[truth[:, 0] >= 0, :5]:
            _draw_box(axes, box, _BEST, "", linestyle="--")
        for index, certainty, *box in boxes[boxes[:, 1] >= _SURE]:
            _draw_box(axes, box, _VAL, f"{labels[int(index)]} {certainty:.0%}")
    figure.savefig(path, dpi=_DPI)


def _draw_box(
    axes: Axes, box: Sequence[float], color: str, label: str, linestyle: str = "-"
) -> None:
    left, top, right, bottom = (side - 0.5 for side in box)  # a pixel's middle is a whole number
    shape = Rectangle(
        (left, top), right - left, bottom - top, fill=False, edgecolor=color, linestyle=linestyle
    )
    axes.add_patch(shape)
    axes.text(left, top - 1, label, color=color, fontsize=7, va="bottom")


def _draw_image(axes: Axes, image: NDArray[Any]) -> None:
    if image.shape[-1] == 3:
        axes.imshow(image)
    else:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
