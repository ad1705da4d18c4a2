"""Boxes, labels and probabilities drawn on a copy of a photo."""

import colorsys
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinsmith_runtime.answers import Detection
from tinsmith_runtime.errors import printable

if TYPE_CHECKING:
    from PIL.Image import Image

_READABLE_PIXELS = 480  # the longer side of a picture that is not enlarged
_MAX_LABEL = 40  # characters: a manifest may hold a million
_GOLDEN = (math.sqrt(5) - 1) / 2  # hues at this distance are far apart, however many there are


def draw(photo: "Image", detections: Sequence[Detection], labels: Sequence[str]) -> "Image":
    """Draws what was found.

    Args:
        photo: in RGB; it is left as it is.
        detections: boxes in its pixels; the most probable is drawn last, on top.
        labels: of the bundle: each has a colour of its own.

    Returns:
        A copy. A small photo becomes a multiple of its size, so that words on it can be read.
    """
    from PIL import Image, ImageDraw, ImageFont

    times = math.ceil(_READABLE_PIXELS / max(photo.size))
    size = photo.width * times, photo.height * times
    copy = photo.resize(size, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(copy)
    shorter = min(size)
    font = ImageFont.load_default(max(12, shorter // 32))
    thickness = max(2, shorter // 240)
    for found in reversed(detections):
        color, ink = _colors(labels.index(found.label))
        left, top, right, bottom = (round(side * times) for side in found.box)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(corners, outline=color, width=thickness)
        words = f"{printable(found.label)[:_MAX_LABEL]} {found.probability:.0%}"
        x0, y0, x1, y1 = pen.textbbox((0, 0), words, font)
        width, height = math.ceil(x1 - x0) + 4, math.ceil(y1 - y0) + 4
        x = max(0, min(left, size[0] - width))
        y = top - height if top >= height else top  # above the box, or within it
        pen.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
        pen.text((x + 2 - x0, y + 2 - y0), words, ink, font)
    return copy


def _colors(index: int) -> tuple[tuple[int, int, int], str]:
    """The colour of a label, and that of the words on it."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.9, 0.95)
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5  # ITU-R BT.601, luma
    return (round(255 * red), round(255 * green), round(255 * blue)), "black" if bright else "white"
