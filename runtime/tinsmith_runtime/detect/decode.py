"""From rows of numbers to boxes in pixels of the model's input."""

import math

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.bundle import BoxHead
from tinsmith_runtime.bundle.box_head import level_grid

# An anchor grows to 62 times its size at most, as in Detectron and torchvision: exp of what a
# wrong output gives could be infinite.
_MAX_LOG_SIZE = math.log(1000 / 16)
_SWAPPED = [1, 0, 3, 2]


def make_anchors(head: BoxHead, height: int, width: int) -> NDArray[np.float64]:
    """Lays the anchors of a head on an input, or the places of one without anchors.

    Args:
        head: of the detector.
        height: of the input, in pixels.
        width: likewise.

    Returns:
        `(candidates, 4)`: centre x and y, width and height, in pixels; of a place without anchors
        the stride is both. `(0, 4)` for a head that needs none.
    """
    found = [np.array(head.anchors, np.float64).reshape(-1, 4)]
    for level in head.levels:
        sizes = np.array(level.sizes or [(level.stride, level.stride)])
        rows, columns = level_grid(level, height, width)
        laid = np.empty((rows, columns, len(sizes), 4))
        laid[..., 0] = ((np.arange(columns) + head.offset) * level.stride)[:, np.newaxis]
        laid[..., 1] = ((np.arange(rows) + head.offset) * level.stride)[:, np.newaxis, np.newaxis]
        laid[..., 2:] = sizes
        found.append(laid.reshape(-1, 4))
    return np.concatenate(found)


def decode_boxes(
    head: BoxHead,
    codes: NDArray[np.float32],
    anchors: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Turns what the model gives for candidates into boxes; see `BoxHead.coding`.

    Deltas are those of Faster R-CNN (Ren et al., 2015, equation 2), distances those of FCOS (Tian
    et al., 2019, equation 1), their distributions those of Li et al. (2020, equation 5).

    Args:
        head: of the detector.
        codes: `(N, 4 * bins)`.
        anchors: `(N, 4)`, of these candidates; not looked at for corners and centers.
        shape: of the input: `(H, W, C)`.

    Returns:
        `(N, 4)`: left, top, right, bottom, in pixels of the input; neither finite nor in order
        where the codes are not.
    """
    if head.bins > 1:
        codes = _means(codes.reshape(-1, 4, head.bins), head.bins_activation == "softmax")
    four = codes.astype(np.float64)
    if head.order == "yx":
        four = four[:, _SWAPPED]
    if head.unit == "fractions":
        four *= (shape[1], shape[0]) * 2
    elif head.unit == "strides":
        four *= anchors[:, 2:3]
    if head.coding == "corners":
        return four
    if head.coding == "distances":
        return np.hstack([anchors[:, :2] - four[:, :2], anchors[:, :2] + four[:, 2:]])
    centers, sizes = four[:, :2], four[:, 2:]
    if head.coding == "deltas":
        centers = anchors[:, :2] + centers * head.variances[:2] * anchors[:, 2:]
        sizes = np.exp(np.minimum(sizes * head.variances[2:], _MAX_LOG_SIZE)) * anchors[:, 2:]
    return np.hstack([centers - sizes / 2, centers + sizes / 2])


def _means(bins: NDArray[np.float32], logits: bool) -> NDArray[np.float32]:
    """The mean of each distribution `(..., bins)` over 0, 1, 2, ..."""
    count = bins.shape[-1]
    places = np.arange(count, dtype=np.float32)
    if not logits:
        return bins @ places
    # A row a bin: numpy takes a fourth of the time for the maximum along the first axis.
    powers = np.ascontiguousarray(bins.reshape(-1, count).T)
    powers -= powers.max(axis=0)
    np.exp(powers, powers)
    weighed, whole = np.stack([places, np.ones_like(places)]).dot(powers)
    means: NDArray[np.float32] = (weighed / whole).reshape(bins.shape[:-1])
    return means
