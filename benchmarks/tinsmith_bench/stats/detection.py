"""How right a detector is, from its outputs, and whether two detectors differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Box, BoxClass, BoxedImage, Detection, Estimate, FoundBoxes
from tinsmith_bench.stats.fidelity import encoded_picture
from tinsmith_report.average_precision import average_precisions, match_boxes
from tinsmith_runtime import Manifest
from tinsmith_runtime.batch import Arrays, parts
from tinsmith_runtime.bundle import keras_outputs
from tinsmith_runtime.detect import Detector
from tinsmith_runtime.executor.activation import ACTIVATIONS
from tinsmith_runtime.inputs.placement import place

# COCO's measure looks at improbable boxes too, a hundred an image and class: of all the precision
# at a high recall is made. What is less probable than this changes nothing that can be seen.
_LEAST_SCORE = 0.01
# Draws of a bootstrap: fewer than of other numbers, since each costs a thousand times as much.
_DRAWS = 500
MAX_IMAGES = 8
_MAX_SIDE = 192


@dataclass(frozen=True, eq=False)
class Boxes:
    """What a variant found in all images, and how right it is.

    Attributes:
        found: of each image `(K, 6)`: class, probability, left, top, right, bottom, in pixels of
            the model's input.
        averages: average precision `(1 + draws, classes, 10)`: first of all images, then of images
            drawn again and again, the same ones for each variant; NaN where a class has no box.
        detection: how right that is.
        score_limit: the least probability of a box that `model.detect` gives.
    """

    found: tuple[NDArray[np.float64], ...]
    averages: NDArray[np.float64]
    detection: Detection
    score_limit: float


def find_boxes(
    outputs: Arrays, manifest: Manifest, score: float = _LEAST_SCORE
) -> tuple[NDArray[np.float64], ...]:
    """Makes boxes of a detector's outputs `(N, …)`, before their activation; see `Boxes.found`."""
    detector = Detector(manifest)
    height, width, _ = manifest.input.sample_shape
    whole = place((width, height), (width, height), "stretch")
    arrays = {
        output.name: ACTIVATIONS[output.activation](array)
        for output, array in zip(keras_outputs(manifest.outputs), parts(outputs), strict=True)
    }
    score = min(score, detector.head.score_limit)
    found = []
    for index in range(len(next(iter(arrays.values())))):
        one = detector.find({name: array[index] for name, array in arrays.items()}, whole, score)
        found.append(np.column_stack([one.classes, one.probabilities, one.boxes]))
    return tuple(found)


def judge_boxes(
    outputs: Arrays, manifest: Manifest, truth: NDArray[Any], rng: np.random.Generator
) -> Boxes:
    """Holds a detector's outputs `(N, …)` against true boxes, see `tinsmith_data.boxes`."""
    found = find_boxes(outputs, manifest)
    assert manifest.boxes
    labels, least = manifest.boxes.labels, manifest.boxes.score_limit
    matches = match_boxes(found, truth, len(labels))
    images = len(truth)
    draws = rng.multinomial(images, np.full(images, 1 / images), _DRAWS)
    weights = np.concatenate([np.ones((1, images), np.int64), draws])
    averages = average_precisions(matches, weights)
    classes = []
    for label, one, average in zip(labels, matches, averages[0], strict=True):
        count = int(one.truths.sum())
        ap50, ap = (float(average[0]), float(average.mean())) if count else (None, None)
        classes.append(BoxClass(label, count, ap50, ap))
    map50, map_ = map(_estimate, _means(averages))
    return Boxes(found, averages, Detection(map50, map_, tuple(classes)), least)


def map_changes(one: Boxes, other: Boxes) -> tuple[Estimate, Estimate]:
    """By how much mAP@0.5 and mAP differ from a reference's, with paired bootstrap intervals.

    Both are of the same draws of images: what makes some of these hard is taken out. Source: Efron
    and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    first, second = (
        _estimate(mine - its)
        for mine, its in zip(_means(one.averages), _means(other.averages), strict=True)
    )
    return first, second


def _means(averages: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mAP@0.5 and mAP of each draw, over the classes that have boxes there."""
    known = ~np.isnan(averages[..., 0])
    counts = np.maximum(known.sum(axis=1), 1)
    found = np.where(known[..., np.newaxis], averages, 0).sum(axis=1)
    return found[:, 0] / counts, found.mean(axis=1) / counts


def _estimate(values: NDArray[np.float64]) -> Estimate:
    """The first of the values, with the percentile interval of the others around it."""
    value = float(values[0])
    low, high = (float(end) for end in np.percentile(values[1:], (2.5, 97.5)))
    return Estimate(value, min(low, value), max(high, value))


def boxed_images(
    images: NDArray[np.uint8],
    truth: NDArray[Any],
    found: Sequence[tuple[str, Boxes]],
) -> Iterator[BoxedImage]:
    """The first images with their boxes.

    Args:
        images: `uint8 (N, H, W, C)`.
        truth: their boxes.
        found: of each variant its id, and what it found.
    """
    for index in range(min(MAX_IMAGES, len(images))):
        shape, pixels = encoded_picture(images[index], _MAX_SIDE)
        true = truth[index][truth[index, :, 0] >= 0]
        yield BoxedImage(
            index=index,
            size=(images.shape[1], images.shape[2]),
            shape=shape,
            pixels=pixels,
            truth=tuple(_box(int(row[0]), 1.0, row[1:5]) for row in true),
            found=tuple(
                FoundBoxes(
                    variant,
                    tuple(
                        _box(int(row[0]), float(row[1]), row[2:])
                        for row in boxes.found[index]
                        if row[1] >= boxes.score_limit
                    ),
                )
                for variant, boxes in found
            ),
        )


def _box(label: int, probability: float, sides: NDArray[Any]) -> Box:
    left, top, right, bottom = (round(float(side), 2) for side in sides)
    return Box(label, round(probability, 4), (left, top, right, bottom))
