"""Scenes to find things in: digits of several sizes among clutter, with a box around each.

The clutter is what Mnih et al. 2014, "Recurrent Models of Visual Attention", put beside digits:
pieces of other digits; here with strokes and noise besides.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 96
"""Height and width of a scene, in pixels."""

MAX_BOXES = 5
"""Digits in a scene; there is at least one."""

# Side of a whole image of a digit in a scene; the ink takes about five sevenths of it.
_SMALLEST, _LARGEST = 20, 48
_TRIES = 20
_PIECES, _PIECE = 8, 8  # how many pieces of other digits, and the side of one
_STROKES = 3
_NOISE = 64  # the brightest pixel of the noise
_FAINTEST, _BRIGHTEST = 150, 256
_INK = 48  # a box is around what is as bright

Images = NDArray[np.uint8]
Boxes = NDArray[np.float32]


def make_scenes(images: Any, labels: Any, count: int, seed: int) -> tuple[Images, Boxes]:
    """Pastes digits into scenes.

    Args:
        images: of digits, `uint8 (N, H, W)`, bright on black.
        labels: the class of each, integers `(N,)`.
        count: of the scenes.
        seed: the same one makes the same scenes.

    Returns:
        Scenes `uint8 (count, 96, 96, 1)` and boxes `float32 (count, 5, 5)`: class, left, top,
        right and bottom in pixels. A row of a class below 0 is empty.
    """
    rng = np.random.default_rng(seed)
    scenes = np.empty((count, SIDE, SIDE), np.uint8)
    boxes = np.full((count, MAX_BOXES, 5), -1, np.float32)
    resize = {
        size: _interpolation(images.shape[1], size) for size in range(_SMALLEST, _LARGEST + 1)
    }
    for scene, rows in zip(scenes, boxes, strict=True):
        scene[:] = _clutter(images, rng)
        wanted, taken = int(rng.integers(1, MAX_BOXES + 1)), 0
        for _ in range(_TRIES):
            if taken == wanted:
                break
            index, size = int(rng.integers(len(images))), int(rng.integers(_SMALLEST, _LARGEST + 1))
            digit = _tight(resize[size] @ images[index] @ resize[size].T)
            height, width = digit.shape
            top, left = rng.integers(0, SIDE - height + 1), rng.integers(0, SIDE - width + 1)
            box = np.array([left, top, left + width, top + height], np.float32)
            if _is_apart(box, rows[:taken, 1:]):
                rows[taken] = labels[index], *box
                _paste(scene, digit * (rng.integers(_FAINTEST, _BRIGHTEST) / 255), top, left)
                taken += 1
    return scenes[..., np.newaxis], boxes


def _interpolation(old: int, new: int) -> NDArray[np.float64]:
    """The matrix `(new, old)` that resizes one axis: bilinear, or the mean of what a pixel covers.

    A row is a triangle around the pixel's middle, as wide as two pixels of the coarser side.
    """
    middles = (np.arange(new) + 0.5) * old / new - 0.5
    away = np.abs(middles[:, np.newaxis] - np.arange(old)) / max(1.0, old / new)
    weights = np.clip(1 - away, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _tight(digit: NDArray[np.float64]) -> NDArray[np.float64]:
    """A digit without the dark rows and columns around it."""
    (top, *_, bottom), (left, *_, right) = (
        np.flatnonzero((digit > _INK).any(axis=axis)) for axis in (1, 0)
    )
    return digit[top : bottom + 1, left : right + 1]


def _is_apart(box: Boxes, others: Boxes) -> bool:
    """Whether the squares around the middles of boxes share nothing: each digit is whole."""
    reach = (box[2:] - box[:2]).max() + (others[:, 2:] - others[:, :2]).max(axis=1)
    away = np.abs(box[:2] + box[2:] - others[:, :2] - others[:, 2:]).max(axis=1)
    return bool((away >= reach).all())


def _clutter(images: Images, rng: np.random.Generator) -> Images:
    """A scene `uint8 (96, 96)` without a digit: noise, strokes and pieces of digits."""
    scene = rng.integers(0, rng.integers(1, _NOISE), (SIDE, SIDE), dtype=np.uint8)
    for _ in range(rng.integers(_STROKES + 1)):
        ends, steps = rng.integers(0, SIDE, 2), np.linspace(0, 1, 24)[:, np.newaxis]
        turn = rng.uniform(0, 2 * np.pi)
        ys, xs = (ends + steps * 24 * np.array([np.sin(turn), np.cos(turn)])).astype(int).T
        inside = (ys >= 0) & (ys < SIDE) & (xs >= 0) & (xs < SIDE)
        scene[ys[inside], xs[inside]] = rng.integers(_FAINTEST, _BRIGHTEST)
    height, width = images.shape[1:]
    for index in rng.integers(0, len(images), rng.integers(_PIECES + 1)):
        y, x = rng.integers(0, height - _PIECE), rng.integers(0, width - _PIECE)
        top, left = rng.integers(0, SIDE - _PIECE, 2)
        _paste(scene, images[index, y : y + _PIECE, x : x + _PIECE], top, left)
    return scene


def _paste(scene: Images, part: NDArray[np.generic], top: int, left: int) -> None:
    """Puts a part into a scene; of two pixels the brighter one is seen."""
    place = scene[top : top + part.shape[0], left : left + part.shape[1]]
    np.maximum(place, part.astype(np.uint8), out=place)
