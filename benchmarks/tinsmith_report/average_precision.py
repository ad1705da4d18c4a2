"""Mean average precision of found boxes, by COCO's rules; `pycocotools` gives the same numbers.

A found box is right where it shares enough with a true box of its class that none before it has
taken: their intersection over union (IoU) is at least a threshold. Going down by probability,
precision is the share of found boxes that are right, recall the share of true boxes that are
found. Average precision is the mean, at 101 recalls from 0 to 1, of the best precision at that
recall or a higher one; then the mean over the classes is taken. Source: Lin et al. 2014, "Microsoft
COCO: Common Objects in Context", and https://cocodataset.org/#detection-eval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's mAP is the mean over these; the first alone gives mAP@0.5."""

_MAX_FOUND = 100  # of an image and class, the most probable first
_RECALLS = np.linspace(0, 1, 101)
_CHUNK = 1 << 22  # numbers in a temporary array

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Matches:
    """The found boxes of one class, the most probable first, and how many true ones there are.

    Attributes:
        image: the index of each box's image, `(D,)`.
        right: whether it is right at each of `IOU_THRESHOLDS`, `bool (10, D)`.
        ignored: whether it lies on a crowd, so that it is neither right nor wrong; likewise.
        truths: how many boxes of the class each image has, crowds not counted, `(N,)`.
    """

    image: NDArray[np.int64]
    right: Bools
    ignored: Bools
    truths: NDArray[np.int64]


def match_boxes(
    found: Sequence[NDArray[Any]], truth: NDArray[Any], classes: int
) -> tuple[Matches, ...]:
    """Finds out which of the found boxes are right.

    Args:
        found: of each image, `(K, 6)`: class, probability, left, top, right, bottom.
        truth: `(N, M, 5)` or `(N, M, 6)`: class, left, top, right, bottom, and whether it is a
            crowd, which any number of boxes may lie on. A row of a class below 0 is empty.
        classes: how many there are.

    Returns:
        One a class.
    """
    true = np.asarray(truth, np.float64)
    is_of = [true[..., 0] == index for index in range(classes)]
    crowd = true[..., 5] > 0 if true.shape[2] > 5 else np.zeros(true.shape[:2], np.bool_)
    rows = np.concatenate([np.empty((0, 6)), *found]).astype(np.float64)
    images = np.repeat(np.arange(len(found)), [len(one) for one in found])
    matches = []
    for index in range(classes):
        own = np.flatnonzero(rows[:, 0] == index)
        own = own[np.lexsort((-rows[own, 1], images[own]))]
        _, starts, counts = np.unique(images[own], return_index=True, return_counts=True)
        own = own[np.arange(len(own)) - np.repeat(starts, counts) < _MAX_FOUND]
        right, ignored = np.zeros((2, len(IOU_THRESHOLDS), len(own)), np.bool_)
        there, starts, counts = np.unique(images[own], return_index=True, return_counts=True)
        for image, start, count in zip(there, starts, counts, strict=True):
            of, these = is_of[index][image], slice(start, start + count)
            right[:, these], ignored[:, these] = _match(
                rows[own[these], 2:], true[image, of, 1:5], crowd[image, of]
            )
        order = np.argsort(-rows[own, 1], kind="stable")
        truths = (is_of[index] & ~crowd).sum(axis=1)
        matches.append(Matches(images[own][order], right[:, order], ignored[:, order], truths))
    return tuple(matches)


def _match(found: Floats, true: Floats, crowd: Bools) -> tuple[Bools, Bools]:
    """Which boxes of an image and class are right, and which lie on a crowd, at each threshold."""
    right, ignored = np.zeros((2, len(IOU_THRESHOLDS), len(found)), np.bool_)
    if not len(true):
        return right, ignored
    iou = _iou(found, true, crowd)
    taken = np.zeros((len(IOU_THRESHOLDS), len(true)), np.bool_)
    for number, row in enumerate(iou):
        able = ~taken & (row >= IOU_THRESHOLDS[:, np.newaxis])
        # A crowd is the choice where there is no other; of equals the last one is.
        able &= ~crowd | ~(able & ~crowd).any(axis=1, keepdims=True)
        best = len(true) - 1 - np.where(able, row, -1)[:, ::-1].argmax(axis=1)
        hit = able.any(axis=1)
        right[:, number] = hit & ~crowd[best]
        ignored[:, number] = hit & crowd[best]
        taken[right[:, number], best[right[:, number]]] = True
    return right, ignored


def _iou(found: Floats, true: Floats, crowd: Bools) -> Floats:
    """IoU `(K, M)`; of a crowd, the share of the found box that lies in it."""
    low = np.maximum(found[:, np.newaxis, :2], true[:, :2])
    high = np.minimum(found[:, np.newaxis, 2:], true[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    mine, its = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (found, true))
    union = mine[:, np.newaxis] + np.where(crowd, 0, its - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))


def average_precisions(matches: Sequence[Matches], weights: NDArray[Any]) -> Floats:
    """Average precision of each class at each threshold, with images that count several times.

    Args:
        matches: see `match_boxes`.
        weights: `(B, N)`, how often each image counts; a row of ones for the data as it is.

    Returns:
        `(B, classes, 10)`, 0 to 1; NaN where there is no box of a class.
    """
    size = max(1, _CHUNK // max(1, *(one.image.size for one in matches)))
    chunks = [weights[start : start + size] for start in range(0, len(weights), size)]
    found = [np.stack([_precisions(one, chunk) for one in matches], axis=1) for chunk in chunks]
    return np.concatenate(found)


def _precisions(one: Matches, weights: NDArray[Any]) -> Floats:
    """Average precision `(B, 10)` of one class."""
    total = (weights @ one.truths).astype(np.float64)
    result = np.where(total > 0, 0.0, np.nan)[:, np.newaxis].repeat(len(IOU_THRESHOLDS), axis=1)
    counts = weights[:, one.image]
    found = np.cumsum(counts, axis=1)
    rows = 2.0 * np.arange(len(weights))[:, np.newaxis]  # apart, for one search through all
    for level, (right, ignored) in enumerate(zip(one.right, one.ignored, strict=True)):
        # Precision is highest where a box is right: only there it has to be known.
        hit = np.flatnonzero(right)
        if not hit.size:
            continue
        hits = np.cumsum(counts[:, hit], axis=1, dtype=np.float64)
        judged = np.cumsum(counts * ~ignored, axis=1) if ignored.any() else found
        precision = hits / (judged[:, hit] + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(total, 1)[:, np.newaxis]
        places = np.searchsorted((recall + rows).ravel(), (_RECALLS + rows).ravel())
        places = places.reshape(len(weights), -1) - hit.size * np.arange(len(weights))[:, None]
        padded = np.pad(precision, ((0, 0), (0, 1)))
        result[:, level] += np.take_along_axis(padded, places, axis=1).mean(axis=1)
    return result
