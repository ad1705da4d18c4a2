"""Non-maximum suppression: of boxes that overlap much and have one class, the best one counts."""

import numpy as np
from numpy.typing import NDArray

# Compared with each other at once: all pairs of 2,000 boxes would be 4 million.
_BLOCK = 128


def suppress(
    boxes: NDArray[np.float64], classes: NDArray[np.intp], iou_limit: float, most: int
) -> NDArray[np.intp]:
    """Chooses boxes one by one, the most probable first, as greedy suppression does.

    A box is left out if its overlap with a chosen one of its class, intersection over union, is
    more than the limit. A box without area overlaps none.

    Args:
        boxes: `(N, 4)`: left, top, right, bottom; the most probable first.
        classes: `(N,)`.
        iou_limit: 0 to 1.
        most: how many to choose at most.

    Returns:
        Which are chosen, in order.
    """
    chosen = np.empty(0, np.intp)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        block = block[~_overlap(boxes, classes, chosen, block, iou_limit).any(axis=0)]
        free = np.ones(len(block), bool)
        for row, overlapping in enumerate(_overlap(boxes, classes, block, block, iou_limit)):
            if free[row]:
                free[row + 1 :] &= ~overlapping[row + 1 :]
        chosen = np.concatenate([chosen, block[free]])
        if len(chosen) >= most:
            break
    return chosen[:most]


def _overlap(
    boxes: NDArray[np.float64],
    classes: NDArray[np.intp],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    iou_limit: float,
) -> NDArray[np.bool_]:
    """Whether each box of `rows` overlaps each of `columns` by more than the limit."""
    one, other = boxes[rows].T[:, :, np.newaxis], boxes[columns].T[:, np.newaxis]
    width = np.minimum(one[2], other[2]) - np.maximum(one[0], other[0])
    height = np.minimum(one[3], other[3]) - np.maximum(one[1], other[1])
    common = width.clip(0) * height.clip(0)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    same = classes[rows][:, np.newaxis] == classes[columns]
    found: NDArray[np.bool_] = (common > iou_limit * (union - common)) & same
    return found
