"""Where a photo lies in a model's input, and the way back from there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placement:
    """The part of the photo that is seen, and the part of the input that it fills.

    Attributes:
        photo: width and height of the photo, upright, in its own pixels.
        seen: left, top, right, bottom of what is seen of it, in its pixels.
        filled: the same of where that is in the input, in the input's.
    """

    photo: tuple[int, int]
    seen: tuple[float, float, float, float]
    filled: tuple[int, int, int, int]

    def to_photo(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Brings boxes from the input to the photo.

        Args:
            boxes: `(N, 4)`: left, top, right, bottom, in the input's pixels.

        Returns:
            `(N, 4)` in the photo's pixels, cut off at its sides.
        """
        (left, top, right, bottom), filled = self.seen, self.filled
        scale = (right - left) / (filled[2] - filled[0]), (bottom - top) / (filled[3] - filled[1])
        moved = (boxes.reshape(-1, 2, 2) - filled[:2]) * scale + (left, top)
        return np.clip(moved, 0, self.photo).reshape(-1, 4)


def place(photo: tuple[int, int], size: tuple[int, int], fit: str) -> Placement:
    """Places a photo in an input; see `Preprocessing.fit`.

    Args:
        photo: its width and height, in pixels.
        size: of the input, likewise.
        fit: `stretch`, `contain` or `crop`.
    """
    (width, height), (columns, rows) = photo, size
    left = top = 0.0
    seen_width, seen_height = float(width), float(height)
    if fit == "contain":
        wide = width / height > columns / rows
        new_width = columns if wide else min(columns, max(1, round(width / height * rows)))
        new_height = min(rows, max(1, round(height / width * columns))) if wide else rows
        x, y = round((columns - new_width) / 2), round((rows - new_height) / 2)
        filled = x, y, x + new_width, y + new_height
        return Placement(photo, (0.0, 0.0, seen_width, seen_height), filled)
    if fit == "crop":
        if width / height > columns / rows:
            seen_width = columns / rows * height
            left = (width - seen_width) / 2
        elif width / height < columns / rows:
            seen_height = width / (columns / rows)
            top = (height - seen_height) / 2
    seen = left, top, left + seen_width, top + seen_height
    return Placement(photo, seen, (0, 0, columns, rows))
