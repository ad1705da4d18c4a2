"""How a detector's outputs become boxes, as a manifest says it; `box_checks` holds it to a model.

Sizes are in pixels of the model's input, x to the right and y down.
"""

import math
from typing import Annotated, TypeAlias

from tinsmith_runtime.bundle.fields import Count, at_most, few, one_of
from tinsmith_runtime.record import Rule, frozen_dataclass

_MAX_PIXELS = 1 << 16

Share: TypeAlias = Annotated[float, Rule("0 to 1", lambda share: 0 <= share <= 1)]
Pixels: TypeAlias = Annotated[
    float, Rule(f"more than 0, at most {_MAX_PIXELS}", lambda size: 1e-6 <= size <= _MAX_PIXELS)
]
Place: TypeAlias = Annotated[
    float, Rule(f"{-_MAX_PIXELS} to {_MAX_PIXELS}", lambda place: abs(place) <= _MAX_PIXELS)
]
Factor: TypeAlias = Annotated[float, Rule("0.000001 to 1000", lambda one: 1e-6 <= one <= 1e3)]
Labels: TypeAlias = Annotated[
    tuple[str, ...], Rule("1 to 10000", lambda all: 0 < len(all) <= 10_000)
]


@frozen_dataclass(frozen=True)
class BoxLevel:
    """The places of one feature map, row by row, each with as many candidates as it has anchors.

    Attributes:
        stride: from one place to the next.
        sizes: width and height of each anchor; none where there are no anchors: one candidate.
        grid: rows and columns; `None`: the input's height and width over the stride, rounded up.
    """

    stride: Pixels
    sizes: Annotated[tuple[tuple[Pixels, Pixels], ...], at_most(64, "sizes")] = ()
    grid: tuple[Count, Count] | None = None


@frozen_dataclass(frozen=True)
class BoxHead:
    """How the outputs of a detector become boxes.

    An output holds a row for each candidate, place by place and in a place anchor by anchor: it is
    `(N, candidates, width)`, or a feature map `(N, H, W, anchors * width)`. Rows of several outputs
    follow each other. An output that is named for two things has the numbers of both in each row:
    first the box, then the objectness, then the scores.

    Attributes:
        boxes: names of the outputs that hold boxes: 4 numbers a candidate, or `4 * bins`.
        scores: names of those that hold scores: a number for each label, and for a background.
        objectness: names of those that hold how likely there is anything, or how centered it is:
            a number a candidate; none if the detector has no such thing.
        labels: names of the classes in the order of the scores, without the background.
        coding: what the 4 numbers are. `deltas` from an anchor, SSD's and RetinaNet's: centre x
            and y as shares of its size, logarithms of width and height over its own. `distances`
            from a place to the left, top, right and bottom, FCOS's and YOLOv8's. `corners`: left,
            top, right, bottom. `centers`: centre x and y, width, height.
        order: `xy`, as above; `yx`: y before x, height before width, top before left.
        unit: of distances, corners and centers: `pixels`, `strides` (distances alone) or
            `fractions` of the input's width and height (corners and centers alone).
        variances: what deltas of x, y, width and height are multiplied by.
        levels: the feature maps of anchors and distances, in the order of the candidates.
        anchors: in place of levels, each candidate's: centre x and y, width, height.
        offset: where in its cell a place lies: 0.5 in the middle, 0 at its left top corner.
        bins: 1; or for each distance the number of logits of a distribution over 0, 1, 2, ...,
            whose mean is the distance (YOLOv8's "distribution focal loss").
        bins_activation: `softmax`, or `none` where the model applies it itself.
        activation: what makes probabilities of the scores that the model gives: `sigmoid`,
            `softmax` over a candidate's scores, or `none`. The objectness takes a sigmoid, or
            `none` with `none`.
        background: whether the `first` or `last` score is that of nothing; `none`.
        objectness_mean: of score and objectness the probability is their `product`, or the
            `geometric` mean, as in later versions of FCOS.
        candidates_last: whether outputs are `(N, width, candidates)`.
        score_limit: the least probability that counts.
        iou_limit: of two boxes with one label that overlap by more (intersection over union) the
            more probable one counts.
        max_detections: in one image.
    """

    boxes: Annotated[tuple[str, ...], few("names")]
    scores: Annotated[tuple[str, ...], few("names")]
    labels: Labels
    coding: Annotated[str, one_of("deltas", "distances", "corners", "centers")]
    objectness: Annotated[tuple[str, ...], at_most(16, "names")] = ()
    order: Annotated[str, one_of("xy", "yx")] = "xy"
    unit: Annotated[str, one_of("pixels", "strides", "fractions")] = "pixels"
    variances: tuple[Factor, Factor, Factor, Factor] = (1.0, 1.0, 1.0, 1.0)
    levels: Annotated[tuple[BoxLevel, ...], at_most(16, "levels")] = ()
    anchors: tuple[tuple[Place, Place, Pixels, Pixels], ...] = ()
    offset: Share = 0.5
    bins: Annotated[int, Rule("1 to 256", lambda bins: 1 <= bins <= 256)] = 1
    bins_activation: Annotated[str, one_of("softmax", "none")] = "softmax"
    activation: Annotated[str, one_of("sigmoid", "softmax", "none")] = "sigmoid"
    background: Annotated[str, one_of("none", "first", "last")] = "none"
    objectness_mean: Annotated[str, one_of("product", "geometric")] = "product"
    candidates_last: bool = False
    score_limit: Share = 0.25
    iou_limit: Share = 0.5
    max_detections: Annotated[int, Rule("1 to 1000", lambda count: 1 <= count <= 1000)] = 100


def role_widths(head: BoxHead) -> dict[str, int]:
    """Says how many numbers of each thing a candidate has, in the order of a row."""
    scores = len(head.labels) + (head.background != "none")
    return {"boxes": 4 * head.bins, "objectness": 1, "scores": scores}


def row_width(head: BoxHead, name: str) -> int:
    """Says how many numbers a row of the output has that is named so."""
    return sum(width for role, width in role_widths(head).items() if name in getattr(head, role))


def level_grid(level: BoxLevel, height: int, width: int) -> tuple[int, int]:
    """Gives the rows and columns of a level, for an input of `height` and `width` pixels."""
    return level.grid or (math.ceil(height / level.stride), math.ceil(width / level.stride))


def row_part(head: BoxHead, role: str, name: str) -> slice:
    """Says where in a row of an output the numbers of one thing are."""
    first = 0
    for other, numbers in role_widths(head).items():
        if other == role:
            break
        first += numbers if name in getattr(head, other) else 0
    return slice(first, first + role_widths(head)[role])
