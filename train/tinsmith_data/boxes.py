"""Boxes around the things in images, as data gives them beside the images.

Of each image `(M, 5)` or `(M, 6)` numbers: class, left, top, right, bottom in pixels from the left
top corner, and whether it is a crowd, many things in one box, as COCO has them. Images with fewer
boxes have rows of a class below 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.errors import DatasetError

COLUMNS = (5, 6)
_MAX_BOXES = 10_000  # of an image: an array has as many rows for each


def are_boxes(labels: NDArray[Any]) -> bool:
    """Whether what data calls labels has the shape of boxes, `(N, M, 5)` or `(N, M, 6)`."""
    return labels.ndim == 3 and labels.shape[2] in COLUMNS


def checked_boxes(name: str, boxes: NDArray[Any], images: int) -> NDArray[np.float32]:
    """Checks boxes, whatever their classes.

    Args:
        name: of the data, for an error.
        boxes: see this module.
        images: how many there are.

    Returns:
        `float32 (N, M, 5)` or `(N, M, 6)`.

    Raises:
        DatasetError: they are no boxes, or not as many as images.
    """
    if not are_boxes(boxes) or len(boxes) != images or boxes.dtype.kind not in "iuf":
        raise DatasetError(
            f"{name}: expected boxes ({images}, M, 5): class, left, top, right, bottom; "
            f"got {boxes.dtype} {boxes.shape}"
        )
    if boxes.shape[1] > _MAX_BOXES:
        raise DatasetError(
            f"{name}: expected at most {_MAX_BOXES} boxes an image, got {boxes.shape[1]}"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is refused
        found = boxes.astype(np.float32)
    used = found[found[..., 0] >= 0]
    corners = used[:, 1:5]
    whole = (used[:, 0] == np.floor(used[:, 0])) & (used[:, 0] < 2**24)
    good = np.isfinite(found).all() and whole.all() and (corners[:, :2] < corners[:, 2:]).all()
    if not good:
        raise DatasetError(
            f"{name}: expected boxes with a whole number as class, left < right and top < bottom, "
            "and a class of -1 where there is none"
        )
    return found


def largest_class(boxes: NDArray[np.float32]) -> int:
    """The largest class of boxes; -1 without any."""
    return int(boxes[..., 0].max(initial=-1))
