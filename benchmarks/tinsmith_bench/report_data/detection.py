"""What was measured of a detector."""

from dataclasses import dataclass

from tinsmith_bench.report_data.estimate import Estimate


@dataclass(frozen=True)
class BoxClass:
    """One class of boxes.

    Attributes:
        label: its name.
        boxes: how many true ones there are, crowds not counted.
        ap50: average precision at an IoU of 0.5, 0 to 1; `None` without a box.
        ap: likewise, the mean over IoUs from 0.5 to 0.95.
    """

    label: str
    boxes: int
    ap50: float | None
    ap: float | None


@dataclass(frozen=True)
class Detection:
    """How right a detector is, by COCO's rules.

    Attributes:
        map50: mean average precision at an IoU of 0.5, 0 to 1, with its bootstrap interval at 95 %
            over the images.
        map: likewise, the mean over IoUs of 0.5, 0.55, … 0.95.
        classes: each class by itself.
    """

    map50: Estimate
    map: Estimate
    classes: tuple[BoxClass, ...]


@dataclass(frozen=True)
class Box:
    """A box in an image.

    Attributes:
        label: the index of its class.
        probability: 0 to 1; of a true box 1.
        sides: left, top, right, bottom, in pixels of the model's input.
    """

    label: int
    probability: float
    sides: tuple[float, float, float, float]


@dataclass(frozen=True)
class FoundBoxes:
    """What a variant found in an image.

    Attributes:
        variant: its id.
        boxes: those that `model.detect` gives.
    """

    variant: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class BoxedImage:
    """An image with its boxes, to look at.

    Attributes:
        index: of the sample.
        size: height and width of the model's input, in pixels.
        shape: of `pixels`, `(H, W, C)`; of a large image every n-th pixel.
        pixels: the image, uint8 in C order, in base64.
        truth: the true boxes.
        found: those of each variant.
    """

    index: int
    size: tuple[int, int]
    shape: tuple[int, ...]
    pixels: str
    truth: tuple[Box, ...]
    found: tuple[FoundBoxes, ...]
