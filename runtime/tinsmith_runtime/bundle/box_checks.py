"""Whether a `BoxHead` fits a model's inputs and outputs."""

import math
import reprlib
from collections.abc import Iterator, Mapping

from tinsmith_runtime.bundle.box_head import BoxHead, level_grid, role_widths, row_width
from tinsmith_runtime.record import mismatch

_UNITS = {
    "deltas": ("pixels",),
    "distances": ("pixels", "strides"),
    "corners": ("pixels", "fractions"),
    "centers": ("pixels", "fractions"),
}


def head_contradictions(
    head: BoxHead, image: tuple[int, ...] | None, outputs: Mapping[str, tuple[int, ...]]
) -> Iterator[str]:
    """Says, with each field's path, what is wrong between a head, a model and the head itself.

    Args:
        head: of the model.
        image: `(H, W, C)` of the model's one input; `None` if that is no image or not the only one.
        outputs: name to shape, without the batch, of each output of values.
    """
    if image is None:
        yield "boxes: expected a model of one image"
        return
    problems = [*_fields(head), *_names(head, outputs)]
    problems = problems or list(_rows(head, outputs))
    yield from problems or _counts(head, outputs, image)


def _fields(head: BoxHead) -> Iterator[str]:
    units = _UNITS[head.coding]
    if head.unit not in units:
        yield mismatch("boxes.unit", f"{' or '.join(units)}, for {head.coding}", head.unit)
    if head.bins > 1 and head.coding != "distances":
        yield mismatch("boxes.bins", f"1, for {head.coding}", head.bins)
    sizes = any(level.sizes for level in head.levels)
    bare = any(not level.sizes for level in head.levels)
    if head.coding == "deltas":
        if bool(head.levels) == bool(head.anchors) or bare:
            yield "boxes.levels: expected levels with sizes or anchors, one of both, for deltas"
    elif head.anchors or sizes:
        yield f"boxes: expected no anchors and no sizes, for {head.coding}"
    elif bool(head.levels) != (head.coding == "distances"):
        wanted = "levels" if head.coding == "distances" else "none"
        yield mismatch("boxes.levels", f"{wanted}, for {head.coding}", len(head.levels))


def _names(head: BoxHead, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for role in role_widths(head):
        names = getattr(head, role)
        for index, name in enumerate(names):
            if name not in shapes:
                known = ", ".join(map(reprlib.repr, shapes)) or "the model has none"
                yield mismatch(f"boxes.{role}[{index}]", f"an output of values: {known}", name)
        if len(set(names)) < len(names):
            yield mismatch(f"boxes.{role}", "names that differ", names)


def _rows(head: BoxHead, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Each output must be rows of the right width."""
    for name in dict.fromkeys((*head.boxes, *head.objectness, *head.scores)):
        shape, width = shapes[name], row_width(head, name)
        wanted = f"(N, candidates, {width})"
        if head.candidates_last:
            wanted = f"(N, {width}, candidates)"
            fits = len(shape) == 2 and shape[0] == width
        elif len(shape) == 2:
            fits = shape[1] == width
        else:
            fits = shape[-1] % width == 0
            wanted += f" or (N, H, W, anchors * {width})"
        if not fits:
            widths = role_widths(head).items()
            held = ", ".join(f"{role} ({n})" for role, n in widths if name in getattr(head, role))
            got = ", ".join(map(str, shape))
            said = f"boxes: output {reprlib.repr(name)} of {held}: expected shape {wanted}"
            yield f"{said}, got (N, {got})"


def _counts(
    head: BoxHead, shapes: Mapping[str, tuple[int, ...]], image: tuple[int, ...]
) -> Iterator[str]:
    counts = {
        role: sum(math.prod(shapes[name]) // row_width(head, name) for name in getattr(head, role))
        for role in role_widths(head)
        if getattr(head, role)
    }
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} {role}" for role, count in counts.items())
        yield f"boxes: expected as many candidates of each, got {got}: see labels, background, bins"
    places, field = 0, "anchors" if head.anchors else "levels"
    for level in head.levels:
        places += math.prod(level_grid(level, *image[:2])) * max(1, len(level.sizes))
    places = places or len(head.anchors)
    if places and places != counts["boxes"]:
        yield f"boxes.{field}: expected {counts['boxes']} candidates, as outputs have, got {places}"
