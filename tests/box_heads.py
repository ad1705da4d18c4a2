"""What a head says, candidate by candidate in plain Python: what decoding in numpy is held to."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.bundle import BoxHead

Box = tuple[float, float, float, float]


def places(
    head: BoxHead, height: int, width: int
) -> list[tuple[float, float, float, float, float]]:
    """Of each candidate the centre, the size of its anchor, and the stride."""
    found = [(*anchor, math.nan) for anchor in head.anchors]
    for level in head.levels:
        grid = level.grid or (math.ceil(height / level.stride), math.ceil(width / level.stride))
        for row in range(grid[0]):
            for column in range(grid[1]):
                x, y = (column + head.offset) * level.stride, (row + head.offset) * level.stride
                sizes = level.sizes or [(math.nan, math.nan)]
                found += [(x, y, *size, level.stride) for size in sizes]
    return found


def box(head: BoxHead, numbers: Sequence[float], place: Any, shape: tuple[int, ...]) -> Box:
    """Left, top, right and bottom in pixels of the input."""
    values = list(numbers)
    if head.bins > 1:
        values = [_mean(head, values[i * head.bins :][: head.bins]) for i in range(4)]
    if head.order == "yx":
        values = [values[i] for i in (1, 0, 3, 2)]
    if head.unit == "fractions":
        values = [value * shape[1 - i % 2] for i, value in enumerate(values)]
    if head.coding == "corners":
        return values[0], values[1], values[2], values[3]
    if head.coding == "centers":
        return _around(values[0], values[1], values[2], values[3])
    x, y, width, height, stride = place
    if head.coding == "distances":
        left, top, right, bottom = (v * (stride if head.unit == "strides" else 1) for v in values)
        return x - left, y - top, x + right, y + bottom
    a, b, c, d = (value * factor for value, factor in zip(values, head.variances, strict=True))
    return _around(x + a * width, y + b * height, width * math.exp(c), height * math.exp(d))


def _around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _mean(head: BoxHead, bins: list[float]) -> float:
    shares = bins
    if head.bins_activation == "softmax":
        powers = [math.exp(value) for value in bins]
        shares = [power / sum(powers) for power in powers]
    return sum(number * share for number, share in enumerate(shares))


def probabilities(head: BoxHead, scores: NDArray[Any], objectness: float | None) -> list[float]:
    """Of each label, of one candidate."""
    values = [float(score) for score in scores]
    if head.activation == "sigmoid":
        values = [1 / (1 + math.exp(-value)) for value in values]
    if head.activation == "softmax":
        powers = [math.exp(value - max(values)) for value in values]
        values = [power / sum(powers) for power in powers]
    first = int(head.background == "first")
    values = values[first : first + len(head.labels)]
    if objectness is None:
        return values
    there = objectness if head.activation == "none" else 1 / (1 + math.exp(-objectness))
    if head.objectness_mean == "geometric":
        return [math.sqrt(value * there) for value in values]
    return [value * there for value in values]


def iou(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - common
    return common / union if union > 0 else 0.0


def expected(
    head: BoxHead,
    rows: NDArray[Any],
    scores: NDArray[Any],
    objectness: NDArray[Any] | None,
    shape: tuple[int, ...],
) -> list[tuple[int, float, Box]]:
    """All that is found in an image of the model's size: class, probability and box."""
    where: Sequence[Any] = places(head, shape[0], shape[1]) or [None] * len(rows)
    found = []
    for index, numbers in enumerate(rows):
        there = None if objectness is None else float(objectness[index])
        for label, probability in enumerate(probabilities(head, scores[index], there)):
            if probability >= head.score_limit:
                sides = box(head, numbers.tolist(), where[index], shape)
                limits = (shape[1], shape[0]) * 2
                cut = tuple(min(max(s, 0.0), m) for s, m in zip(sides, limits, strict=True))
                if cut[2] > cut[0] and cut[3] > cut[1]:
                    found.append((label, probability, (cut[0], cut[1], cut[2], cut[3])))
    found.sort(key=lambda one: -one[1])
    kept: list[tuple[int, float, Box]] = []
    for one in found:
        if all(one[0] != k[0] or iou(one[2], k[2]) <= head.iou_limit for k in kept):
            kept.append(one)
    return kept[: head.max_detections]


def level_sizes(sides: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Square anchors and one twice as wide, for each side."""
    return tuple((side * factor, side) for side in sides for factor in (1.0, 2.0))


def random_outputs(
    head: BoxHead, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """Boxes that often overlap, scores and objectness of so many candidates."""
    scale = {"deltas": 1.0, "distances": 3.0, "corners": 1.0, "centers": 1.0}[head.coding]
    rows = rng.normal(0, scale, (count, 4 * head.bins))
    if head.coding in ("corners", "centers"):
        rows = rng.uniform(0, 0.6 if head.unit == "fractions" else 40, (count, 4))
    elif head.coding == "distances":
        rows = np.abs(rows)
    if head.bins > 1 and head.bins_activation == "none":
        rows = rng.dirichlet(np.ones(head.bins), (count, 4)).reshape(count, -1)
    classes = len(head.labels) + (head.background != "none")
    scores = rng.normal(-1, 2, (count, classes))
    there = rng.normal(0, 2, count)
    if head.activation == "none":
        scores, there = rng.uniform(0, 1, scores.shape), rng.uniform(0, 1, count)
    single = (rows.astype(np.float32), scores.astype(np.float32))
    return *single, (there.astype(np.float32) if head.objectness else None)
