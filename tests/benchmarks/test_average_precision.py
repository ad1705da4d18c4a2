"""Mean average precision against `pycocotools`, COCO's own."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tinsmith_report.average_precision import average_precisions, match_boxes

Found = list[NDArray[Any]]


def cocos(found: Found, truth: NDArray[Any], classes: int) -> NDArray[Any]:
    """Average precision by `pycocotools`, `(classes, 10)`; NaN where a class has no box."""
    annotations = [
        {
            "image_id": image,
            "category_id": int(row[0]),
            "bbox": [row[1], row[2], row[3] - row[1], row[4] - row[2]],
            "area": (row[3] - row[1]) * (row[4] - row[2]),
            "iscrowd": int(len(row) > 5 and row[5] > 0),
        }
        for image, rows in enumerate(truth.tolist())
        for row in rows
        if row[0] >= 0
    ]
    results = [
        {
            "image_id": image,
            "category_id": int(row[0]),
            "score": row[1],
            "bbox": [row[2], row[3], row[4] - row[2], row[5] - row[3]],
        }
        for image, rows in enumerate(found)
        for row in rows.tolist()
    ]
    numbered = [{"id": 1 + number, **one} for number, one in enumerate(annotations)]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(len(found))],
            "categories": [{"id": index} for index in range(classes)],
            "annotations": numbered,
        }
        coco.createIndex()
        other = COCO()
        other.dataset = {
            **coco.dataset,
            "annotations": [
                {"id": 1 + n, "iscrowd": 0, "area": one["bbox"][2] * one["bbox"][3], **one}
                for n, one in enumerate(results)
            ],
        }
        other.createIndex()
        judged = COCOeval(coco, other, "bbox")
        judged.evaluate()
        judged.accumulate()
    # Thresholds, recalls, classes, areas (all of them first), most found (100 last).
    precision = judged.eval["precision"][:, :, :, 0, -1]
    mean = precision.mean(axis=1).T
    return np.where(mean < 0, np.nan, mean)


def detections(
    seed: int, images: int, classes: int, most: int, *, whole: bool, crowds: bool
) -> tuple[Found, NDArray[Any]]:
    """Random true boxes, and found ones: some of these moved a little, and others."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> NDArray[Any]:
        corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(2, 40, (count, 2))
        made = np.concatenate([corner, corner + size], axis=1)
        return np.round(made) if whole else made

    truth = np.full((images, most, 6 if crowds else 5), -1.0)
    found = []
    for rows in truth:
        count = int(rng.integers(most + 1))
        rows[:count, 0] = rng.integers(classes, size=count)
        rows[:count, 1:5] = boxes(count)
        if crowds:
            rows[:count, 5] = rng.random(count) < 0.3
        near = np.repeat(rows[:count, :5], rng.integers(0, 4, count), axis=0)
        moved = near[:, 1:] + rng.normal(0, 3, (len(near), 4)) * rng.random((len(near), 1))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        others = int(rng.integers(most + 1))
        places = np.concatenate([np.round(moved) if whole else moved, boxes(others)])
        names = np.concatenate([near[:, 0], rng.integers(classes, size=others)])
        # Few different probabilities, so that some are equal.
        scores = rng.integers(1, 12, len(names)) / 12 if whole else rng.random(len(names))
        found.append(np.column_stack([names, scores, places]))
    return found, truth


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 4), st.booleans(), st.booleans()
)
def test_it_is_pycocotools(seed: int, images: int, classes: int, whole: bool, crowds: bool) -> None:
    found, truth = detections(seed, images, classes, 8, whole=whole, crowds=crowds)
    ours = average_precisions(match_boxes(found, truth, classes), np.ones((1, images)))[0]
    np.testing.assert_allclose(ours, cocos(found, truth, classes), rtol=0, atol=1e-9)


def test_of_an_image_and_class_a_hundred_are_judged() -> None:
    found, truth = detections(3, 4, 1, 150, whole=False, crowds=False)
    assert max(map(len, found)) > 100
    ours = average_precisions(match_boxes(found, truth, 1), np.ones((1, 4)))[0]
    np.testing.assert_allclose(ours, cocos(found, truth, 1), rtol=0, atol=1e-9)


def test_by_hand() -> None:
    """The surer box found is wrong, the other right: precision 1/2 up to recall 1/2."""
    truth = np.array([[[0, 0, 0, 10, 10], [0, 20, 20, 30, 30]]])
    found = [np.array([[0, 0.9, 50, 50, 60, 60], [0, 0.8, 0, 0, 10, 6]])]
    # The second shares 60 of 100 pixels: right at 0.5, 0.55 and 0.6.
    expected = np.where(np.arange(10) < 3, 0.5 * 51 / 101, 0)
    ours = average_precisions(match_boxes(found, truth, 2), np.ones((1, 1)))[0]
    np.testing.assert_allclose(ours[0], expected, rtol=0, atol=1e-12)
    assert np.isnan(ours[1]).all()


@pytest.mark.parametrize("seed", range(3))
def test_an_image_that_counts_twice_is_two_images(seed: int) -> None:
    found, truth = detections(seed, 6, 3, 5, whole=False, crowds=True)
    counts = np.random.default_rng(seed).integers(0, 3, (4, 6))
    weighted = average_precisions(match_boxes(found, truth, 3), counts)
    for row, ours in zip(counts, weighted, strict=True):
        drawn = np.repeat(np.arange(6), row)
        again = match_boxes([found[index] for index in drawn], truth[drawn], 3)
        theirs = average_precisions(again, np.ones((1, len(drawn))))[0]
        # Of two equal boxes one comes first, with its own precision: the envelope hides most of it.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.05)


def test_nothing_found_is_nothing_right() -> None:
    truth = np.array([[[0, 0, 0, 10, 10]]])
    ours = average_precisions(match_boxes([np.empty((0, 6))], truth, 1), np.ones((2, 1)))
    assert (ours == 0).all()
