"""What the detector's outputs mean, in a bundle's words, and the boxes that they come to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_report.average_precision import average_precisions, match_boxes
from tinsmith_runtime.bundle import BoxHead, BoxLevel
from tinsmith_runtime.detect.decode import decode_boxes, make_anchors
from tinsmith_runtime.detect.scores import select
from tinsmith_runtime.detect.suppress import suppress
from tinsmith_train.recipe import STRIDE

OUTPUTS = ("distances", "scores")
# COCO's measure looks at all that was found, however improbable; what is below changes nothing.
_LEAST_SCORE = 0.01


def detector_head(labels: Sequence[str]) -> BoxHead:
    """The head of the model `detector`, as `tinsmith export --boxes` takes it."""
    distances, scores = OUTPUTS
    return BoxHead(
        boxes=(distances,),
        scores=(scores,),
        labels=tuple(labels),
        coding="distances",
        unit="strides",
        levels=(BoxLevel(STRIDE),),
    )


def head_json(head: BoxHead) -> str:
    """A head as JSON, without what goes without saying."""
    said = {field.name: field.default for field in fields(BoxHead)}
    tree = {name: value for name, value in asdict(head).items() if value != said[name]}
    tree["levels"] = [{"stride": level.stride} for level in head.levels]
    return json.dumps(tree, indent=1) + "\n"


def find_boxes(
    outputs: Sequence[NDArray[np.float32]], shape: tuple[int, ...], labels: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Finds the boxes in each image.

    Args:
        outputs: of the model: distances and scores, `(N, cells, …)`.
        shape: of an image, `(H, W, C)`.
        labels: of the classes.

    Returns:
        Of each image `(K, 6)`: class, probability, left, top, right, bottom.
    """
    head, size = detector_head(labels), (shape[0], shape[1])
    places = make_anchors(head, *size)
    found: list[NDArray[np.float64]] = []
    for distances, scores in zip(*outputs, strict=True):
        pairs = select(head, scores, None, _LEAST_SCORE)
        boxes = decode_boxes(head, distances[pairs.rows], places[pairs.rows], size)
        chosen = suppress(boxes, pairs.classes, head.iou_limit, head.max_detections)
        columns = pairs.classes[chosen], pairs.probabilities[chosen], boxes[chosen]
        found.append(np.column_stack(columns))
    return found


def mean_average_precision(found: list[NDArray[np.float64]], truth: Any) -> tuple[float, float]:
    """COCO's mAP at an IoU of 0.5, and the mean of those from 0.5 to 0.95; 0 without true boxes."""
    classes = int(truth[..., 0].max(initial=0)) + 1
    average = average_precisions(match_boxes(found, truth, classes), np.ones((1, len(truth))))[0]
    known = average[~np.isnan(average[:, 0])]
    return (float(known[:, 0].mean()), float(known.mean())) if len(known) else (0.0, 0.0)
