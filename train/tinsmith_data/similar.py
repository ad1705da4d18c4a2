"""Images that are nearly the same: one photo saved twice, made smaller or a little brighter.

The perceptual hash of an image is a grey thumbnail of 16 by 16. Two images are near-duplicates if
their thumbnails correlate by 0.99 or more. Measured: photos saved again as JPEG of quality 40, made
half as large or of less contrast are at 0.999, 1.3 times as bright at 0.985 to 0.997; two of 500
different photos are at 0.89 at most. A difference hash of 64 bits does not tell handwritten digits
apart: 1,710 of 2,000 ones have a twin.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Height and width of a thumbnail, in pixels."""

_LEAST_CORRELATION = 0.99
# A deviation of one grey: what varies less is of one colour, and like nothing but its own copies.
_LEAST_LENGTH = SIDE**2 * SIDE
_BLOCK = 256


def near_duplicates(thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers the groups of images that are nearly the same.

    All sums are whole numbers that `float64` holds exactly, so that every machine finds the same
    groups.

    Args:
        thumbnails: `uint8 (N, 256)`, grey.

    Returns:
        `int64 (N,)`, the number of each image's group. Images that are linked through others are in
        one group.
    """
    distinct, first = np.unique(thumbnails, axis=0, return_inverse=True)
    exact = distinct.astype(np.float64) * SIDE**2
    vectors = exact - exact.mean(axis=1, keepdims=True)
    lengths = np.maximum(np.sqrt((vectors**2).sum(axis=1)), _LEAST_LENGTH)
    parents = list(range(len(vectors)))
    for start in range(0, len(vectors), _BLOCK):
        here = slice(start, start + _BLOCK)
        products = vectors[here] @ vectors[start:].T
        near = products >= _LEAST_CORRELATION * np.outer(lengths[here], lengths[start:])
        for one, other in np.argwhere(near) + start:
            parents[_root(parents, other)] = _root(parents, one)
    roots = np.array([_root(parents, number) for number in range(len(parents))], np.int64)
    return roots[first.reshape(-1)]


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def divide_groups(
    classes: Sequence[str], groups: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides images into training and test images: a fifth of each class, no group on both sides.

    Args:
        classes: of each image.
        groups: `int64 (N,)`, see `near_duplicates`.
        seed: chooses which.

    Returns:
        The indices of the training and of the test images, both shuffled. Of each class one image
        or more is for training; where its groups are large, fewer than a fifth are for testing.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    names, kinds, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    left = np.minimum(np.maximum(sizes // 5, 1), sizes - 1)
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(int(groups[index]), []).append(int(index))
    is_test = np.zeros(len(groups), bool)
    for indices in members.values():
        wanted = np.bincount(kinds[indices], minlength=len(names))
        if (wanted <= left).all():
            left -= wanted
            is_test[indices] = True
    return order[~is_test[order]], order[is_test[order]]
