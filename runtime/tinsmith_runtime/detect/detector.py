"""A detector's head on a model of one input size: outputs in, boxes in the photo out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.bundle import BoxHead
from tinsmith_runtime.bundle.box_checks import role_widths, row_width
from tinsmith_runtime.detect.decode import decode_boxes, make_anchors
from tinsmith_runtime.detect.scores import select
from tinsmith_runtime.detect.suppress import suppress
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.placement import Placement


@dataclass(frozen=True)
class Found:
    """Boxes in one image, the most probable first.

    Attributes:
        boxes: `float64 (N, 4)`: left, top, right, bottom, in the photo's pixels, within it.
        classes: `(N,)`, places in `BoxHead.labels`.
        probabilities: `float32 (N,)`, 0 to 1.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.intp]
    probabilities: NDArray[np.float32]


class Detector:
    """Finds boxes in what a model gives; it is made once for a model.

    Args:
        head: that fits the model, as a manifest's does.
        shape: of the model's input: `(H, W, C)`.
    """

    def __init__(self, head: BoxHead, shape: tuple[int, ...]) -> None:
        self.head = head
        self._size = shape[1], shape[0]
        self._anchors = make_anchors(head, shape[0], shape[1])

    def find(
        self,
        outputs: Mapping[str, NDArray[np.float32]],
        placement: Placement,
        score: float | None = None,
        iou: float | None = None,
    ) -> Found:
        """Finds boxes in the outputs for one image.

        Args:
            outputs: `float32`, by name, without the batch, as `Model.predict` gives them.
            placement: where the photo lies in the input.
            score: the least probability that counts; the head's if `None`.
            iou: the largest overlap of two boxes with one label; the head's if `None`.

        Raises:
            UsageError: a limit is not 0 to 1.
        """
        head = self.head
        score = _limit("score", head.score_limit if score is None else score)
        iou = _limit("iou", head.iou_limit if iou is None else iou)
        # What a float model gives may be anything.
        with np.errstate(invalid="ignore", over="ignore"):
            objectness = self._rows("objectness", outputs)[:, 0] if head.objectness else None
            pairs = select(head, self._rows("scores", outputs), objectness, score)
            codes = self._rows("boxes", outputs)[pairs.rows]
            anchors = self._anchors[pairs.rows] if len(self._anchors) else self._anchors
            boxes = placement.to_photo(decode_boxes(head, codes, anchors, self._size))
            # Of a box that is nowhere, or not a number, nothing is left.
            real = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        boxes, classes = boxes[real], pairs.classes[real]
        chosen = suppress(boxes, classes, iou, head.max_detections)
        return Found(boxes[chosen], classes[chosen], pairs.probabilities[real][chosen])

    def _rows(self, role: str, outputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The rows of one thing, `(candidates, numbers)`, of all outputs that hold it."""
        names: Sequence[str] = getattr(self.head, role)
        found = []
        for name in names:
            width = row_width(self.head, name)
            rows = outputs[name]
            rows = rows.T if self.head.candidates_last else rows.reshape(-1, width)
            first = 0
            for other, numbers in role_widths(self.head).items():
                if other == role:
                    found.append(rows[:, first : first + numbers])
                    break
                first += numbers if name in getattr(self.head, other) else 0
        return found[0] if len(found) == 1 else np.concatenate(found)


def _limit(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.floating) and 0 <= value <= 1):
        raise UsageError(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)
