"""A detector's head on a model of one input size: outputs in, boxes in the photo out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.answers import Detection
from tinsmith_runtime.bundle import Manifest, Preprocessing, keras_outputs
from tinsmith_runtime.bundle.box_head import row_part, row_width
from tinsmith_runtime.detect.decode import decode_boxes, make_anchors
from tinsmith_runtime.detect.scores import select
from tinsmith_runtime.detect.suppress import suppress
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.image import Picture, read_photo
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
    """Finds boxes in what a bundle's model gives; it is made once for a model.

    Args:
        manifest: of the bundle.

    Raises:
        UsageError: it does not say how outputs become boxes.
    """

    def __init__(self, manifest: Manifest) -> None:
        if manifest.boxes is None:
            instead = "classify" if manifest.output.kind == "logits" else "predict"
            raise UsageError(f"detect: the bundle does not describe boxes: use {instead}")
        self.head = manifest.boxes
        self._name = keras_outputs(manifest.outputs)[0].name
        self._shape = height, width, _ = manifest.input.sample_shape
        self._preprocessing = manifest.input.preprocessing or Preprocessing()
        self._anchors = make_anchors(self.head, height, width)

    def detect(
        self,
        image: Picture,
        predict: Callable[[NDArray[np.uint8]], Any],
        score: float | None = None,
        iou: float | None = None,
        name: str = "image",
    ) -> list[Detection]:
        """Finds boxes in one image; see `Model.detect`.

        Args:
            image: as `Model.detect` takes it.
            predict: the model's.
            score: see `find`.
            iou: see `find`.
            name: what an error calls the image; a path has its own name.
        """
        pixels, placement = read_photo(image, self._shape, self._preprocessing, name)
        batch = predict(pixels[np.newaxis])
        outputs = batch if isinstance(batch, dict) else {self._name: batch}
        found = self.find(
            {name: array[0] for name, array in outputs.items()}, placement, score, iou
        )
        labels = [self.head.labels[index] for index in found.classes]
        boxes = [(left, top, right, bottom) for left, top, right, bottom in found.boxes.tolist()]
        return list(map(Detection, labels, found.probabilities.tolist(), boxes))

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
            boxes = placement.to_photo(decode_boxes(head, codes, anchors, self._shape))
            # Of a box that is nowhere, or not a number, nothing is left.
            real = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        boxes, classes = boxes[real], pairs.classes[real]
        chosen = suppress(boxes, classes, iou, head.max_detections)
        return Found(boxes[chosen], classes[chosen], pairs.probabilities[real][chosen])

    def _rows(self, role: str, outputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The rows of one thing, `(candidates, numbers)`, of all outputs that hold it."""
        found = []
        for name in getattr(self.head, role):
            whole = outputs[name]
            width = row_width(self.head, name)
            rows = whole.T if self.head.candidates_last else whole.reshape(-1, width)
            found.append(rows[:, row_part(self.head, role, name)])
        return found[0] if len(found) == 1 else np.concatenate(found)


def _limit(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.floating) and 0 <= value <= 1):
        raise UsageError(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)
