"""Checks of what a report says of detectors."""

from collections.abc import Sequence

from tinsmith_bench.report_data.checks import Problems, between, ordered, pixels
from tinsmith_bench.report_data.detection import Box, Detection
from tinsmith_bench.report_data.report import Report

# More than an image has pixels on a side; a box may stand out a little.
_FAR = 1e6
_MOST = 2**53


def detection_problems(path: str, detection: Detection, labels: Sequence[str]) -> Problems:
    """What is wrong with how right a detector is."""
    yield from ordered(f"{path}.map50", detection.map50, 0, 1)
    yield from ordered(f"{path}.map", detection.map, 0, 1)
    if [one.label for one in detection.classes] != list(labels):
        yield f"{path}.classes", "one for each label", [one.label for one in detection.classes]
    for number, one in enumerate(detection.classes):
        yield from between(f"{path}.classes[{number}].boxes", one.boxes, 0, _MOST)
        for average in (one.ap50, one.ap):
            yield from between(f"{path}.classes[{number}].ap", average or 0, 0, 1)


def image_problems(report: Report) -> Problems:
    """What is wrong with the images that are to be looked at."""
    ids, labels = {one.id for one in report.variants}, len(report.dataset.labels)
    for number, image in enumerate(report.images):
        path = f"images[{number}]"
        yield from between(f"{path}.index", image.index, 0, report.dataset.samples - 1)
        for side in image.size:
            yield from between(f"{path}.size", side, 1, _FAR)
        if not image.shape:
            yield f"{path}.shape", "height, width and channels", image.shape
        yield from pixels(path, image.shape, image.pixels)
        yield from _boxes(f"{path}.truth", image.truth, labels)
        for index, found in enumerate(image.found):
            if found.variant not in ids:
                yield f"{path}.found[{index}].variant", "one of the variants", found.variant
            yield from _boxes(f"{path}.found[{index}].boxes", found.boxes, labels)


def _boxes(path: str, boxes: Sequence[Box], labels: int) -> Problems:
    for number, box in enumerate(boxes):
        yield from between(f"{path}[{number}].label", box.label, 0, labels - 1)
        yield from between(f"{path}[{number}].probability", box.probability, 0, 1)
        for side in box.sides:
            yield from between(f"{path}[{number}].sides", side, -_FAR, _FAR)
