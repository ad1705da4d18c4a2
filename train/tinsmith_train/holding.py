"""Which training images are held back to judge each epoch by."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def hold_back(
    labels: NDArray[np.int64], part: float, seed: int, stratified: bool
) -> tuple[Indices, Indices]:
    """Divides training images.

    Args:
        labels: `(N, …)`; classes `(N,)` if `stratified`.
        part: how much is held back, 0 to 1; at least one image.
        seed: of the choice.
        stratified: whether it is this part of each class.

    Returns:
        The indices that are held back, and those that are trained on.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    if not stratified:
        return tuple(np.split(order, [max(1, round(part * len(order)))]))  # type: ignore[return-value]
    held = np.zeros(len(labels), bool)
    for name in np.unique(labels):
        of_class = order[labels[order] == name]
        held[of_class[: max(1, round(part * len(of_class)))]] = len(of_class) > 1
    return order[held[order]], order[~held[order]]
