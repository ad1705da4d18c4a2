"""True boxes, as a bundle's detector names their classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.boxes import are_boxes, checked_boxes, largest_class
from tinsmith_data.data import Data
from tinsmith_runtime import InputError, Manifest


def class_labels(manifest: Manifest) -> tuple[str, ...]:
    """The names of the classes of a classifier or detector; none for values."""
    return manifest.boxes.labels if manifest.boxes else manifest.output.labels


def renamed_classes(path: Path, data: Data, labels: Sequence[str]) -> NDArray[Any]:
    """Boxes whose classes are places in a bundle's labels, in place of those in the data's.

    Raises:
        InputError: the bundle has no label of such a name.
    """
    boxes = np.array(data.test.labels)
    used = np.unique(boxes[..., 0][boxes[..., 0] >= 0]).astype(int)
    unknown = [data.classes[index] for index in used if data.classes[index] not in labels]
    if unknown:
        known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise InputError(f"{path}: {unknown[0]}: expected boxes of the bundle's classes: {known}")
    places = [labels.index(name) if name in labels else -1 for name in data.classes]
    # The last place is for rows without a box, whose class is -1.
    boxes[..., 0] = np.array([*places, -1])[boxes[..., 0].astype(int)]
    return boxes


def check_boxes(name: str, targets: NDArray[Any], count: int, classes: int) -> NDArray[Any] | None:
    """Checks that boxes are of as many images and classes; `None` for labels and the like.

    Raises:
        InputError: they are not, or there is no box.
    """
    if not are_boxes(targets):
        return None
    boxes, largest = checked_boxes(name, targets, count), largest_class(targets)
    if not 0 <= largest < classes:
        got = "no box" if largest < 0 else f"boxes of class {largest}"
        raise InputError(f"{name}: the bundle has labels 0 to {classes - 1}, got {got}")
    return boxes
