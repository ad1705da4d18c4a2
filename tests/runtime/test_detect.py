"""Boxes out of outputs: decoding against plain Python, suppression against OpenCV."""

import time
import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import box_heads
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinsmith_runtime import read_bundle
from tinsmith_runtime.bundle import BoxHead, BoxLevel, Manifest, Output
from tinsmith_runtime.bundle.box_checks import head_contradictions
from tinsmith_runtime.bundle.box_head import row_width
from tinsmith_runtime.detect import Detector, suppress
from tinsmith_runtime.detect.scores import MAX_PAIRS
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.placement import place

SHAPE = (48, 64, 3)
WHOLE = place((64, 48), (64, 48), "stretch")
ABC = ("a", "b", "c")
LEVELS = (BoxLevel(16.0), BoxLevel(32.0))  # 3 x 4 and 2 x 2 places
SIZES = tuple(replace(one, sizes=box_heads.level_sizes([one.stride])) for one in LEVELS)

HEADS = {
    "SSD": BoxHead(
        ("b",), ("s",), ABC, "deltas", variances=(0.1, 0.1, 0.2, 0.2), levels=SIZES,
        activation="softmax", background="first",
    ),
    "SSD of TensorFlow": BoxHead(
        ("b",), ("s",), ABC, "deltas", order="yx", variances=(0.1, 0.1, 0.2, 0.2),
        anchors=tuple((8.0 * i, 20.0, 16.0 + i, 20.0) for i in range(9)), background="first",
    ),
    "softmax without background": BoxHead(
        ("b",), ("s",), ABC, "corners", unit="fractions", activation="softmax"
    ),
    "background last": BoxHead(
        ("b",), ("s",), ABC, "centers", activation="softmax", background="last"
    ),
    "RetinaNet, a map a level": BoxHead(("b1", "b2"), ("s1", "s2"), ABC, "deltas", levels=SIZES),
    "FCOS": BoxHead(
        ("b1", "b2"), ("s1", "s2"), ABC, "distances", objectness=("o1", "o2"), unit="strides",
        levels=LEVELS, objectness_mean="geometric",
    ),
    "FCOS in pixels": BoxHead(
        ("b",), ("s",), ABC, "distances", objectness=("b",), levels=LEVELS, order="yx"
    ),
    "YOLOv8": BoxHead(
        ("all",), ("all",), ABC, "distances", unit="strides", levels=LEVELS, bins=8
    ),
    "YOLOv8, its own softmax": BoxHead(
        ("b",), ("s",), ABC, "distances", unit="strides", levels=LEVELS, bins=8,
        bins_activation="none", activation="none",
    ),
    "YOLOv8 decoded, candidates last": BoxHead(
        ("all",), ("all",), ABC, "centers", activation="none", candidates_last=True
    ),
    "YOLOv5 decoded": BoxHead(
        ("all",), ("all",), ABC, "centers", objectness=("all",), activation="none"
    ),
    "YOLOX": BoxHead(
        ("all",), ("all",), ABC, "deltas", objectness=("all",), offset=0.0,
        levels=tuple(replace(one, sizes=((one.stride, one.stride),)) for one in LEVELS),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def manifest(boxes: Path) -> Manifest:
    return read_bundle(boxes).manifest


def manifest_of(manifest: Manifest, head: BoxHead, shapes: dict[str, tuple[int, ...]]) -> Manifest:
    """A manifest with a head, an input of `SHAPE` and outputs of these shapes."""
    source = replace(manifest.input, shape=(None, *SHAPE))
    outputs = tuple(
        Output(name, (None, *shape), 1.0, 0, (), "none", "values") for name, shape in shapes.items()
    )
    assert list(head_contradictions(head, SHAPE, shapes)) == []
    return replace(manifest, inputs=(source,), outputs=outputs, boxes=head)


def laid_out(
    head: BoxHead, parts: dict[str, NDArray[Any] | None]
) -> dict[str, NDArray[np.float32]]:
    """Rows of boxes, objectness and scores as the outputs that a head names hold them."""
    found: dict[str, NDArray[np.float32]] = {}
    names = dict.fromkeys((*head.boxes, *head.objectness, *head.scores))
    for name in names:
        roles = [role for role in parts if name in getattr(head, role)]
        rows = np.concatenate([np.atleast_2d(parts[role].T).T for role in roles], axis=1)  # type: ignore[union-attr]
        several = getattr(head, roles[0])
        if len(several) > 1:  # a feature map for each level
            counts = [12, 4] if not head.levels[0].sizes else [24, 8]
            index = several.index(name)
            rows = rows[sum(counts[:index]) :][: counts[index]]
            grid = [(3, 4), (2, 2)][index]
            found[name] = rows.reshape(*grid, -1)
        else:
            found[name] = rows.T if head.candidates_last else rows
    return found


def found_by(
    manifest: Manifest, head: BoxHead, seed: int
) -> tuple[list[tuple[int, float, Any]], list[tuple[int, float, Any]]]:
    """What the detector finds in random outputs, and what plain Python does."""
    count = len(box_heads.places(head, *SHAPE[:2])) or 11
    rows, scores, there = box_heads.random_outputs(head, count, np.random.default_rng(seed))
    outputs = laid_out(head, {"boxes": rows, "objectness": there, "scores": scores})
    shapes = {name: array.shape for name, array in outputs.items()}
    found = Detector(manifest_of(manifest, head, shapes)).find(outputs, WHOLE)
    boxes = map(tuple, found.boxes.tolist())
    mine = list(zip(found.classes.tolist(), found.probabilities.tolist(), boxes, strict=True))
    return mine, box_heads.expected(head, rows, scores, there, SHAPE)


@pytest.mark.parametrize("name", HEADS)
def test_decoding_is_that_of_plain_python(manifest: Manifest, name: str) -> None:
    counts = []
    for seed in range(10):
        mine, wanted = found_by(manifest, replace(HEADS[name], score_limit=0.3), seed)
        counts.append(len(wanted))
        assert [one[0] for one in mine] == [one[0] for one in wanted]
        for one, other in zip(mine, wanted, strict=True):
            assert one[1] == pytest.approx(other[1], abs=1e-5)  # float32
            assert one[2] == pytest.approx(other[2], abs=1e-3)
    assert sum(counts) > 20


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(list(HEADS)),
    st.sampled_from([0.0, 1e-6, 0.05, 0.5, 0.9, 0.999, 1.0]),
    st.integers(0, 1000),
)
def test_any_limit(manifest: Manifest, name: str, limit: float, seed: int) -> None:
    """Scores are compared before they are probabilities: that leaves none out, and none in."""
    head = replace(HEADS[name], score_limit=limit, iou_limit=1.0, max_detections=1000)
    mine, wanted = found_by(manifest, head, seed)
    near = [one for one in wanted if abs(one[1] - limit) < 1e-5]
    assert len(wanted) - len(near) <= len(mine) <= len(wanted) + len(near)
    assert all(probability >= limit for _, probability, _ in mine)


def random_boxes(rng: np.random.Generator, count: int, kind: str) -> NDArray[np.float64]:
    """`random` ones; on a `grid` of few places, so that many are equal or overlap by a half."""
    if kind == "grid":
        start = rng.integers(0, 6, (count, 2)) * 8.0
        return np.hstack([start, start + rng.integers(1, 3, (count, 2)) * 16.0])
    start = rng.uniform(0, 300, (count, 2))
    return np.hstack([start, start + rng.uniform(0.5, 120, (count, 2))])


@pytest.mark.parametrize("kind", ["random", "grid"])
@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 700])
@pytest.mark.parametrize("limit", [0.0, 0.25, 0.5, 0.7])
def test_suppression_is_that_of_opencv(kind: str, count: int, limit: float) -> None:
    """One class and several; ties, for OpenCV keeps the order of equal probabilities too."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        boxes = random_boxes(rng, count, kind)
        scores = rng.uniform(0.1, 1, count) if kind == "random" else rng.integers(1, 5, count) / 4
        classes = rng.integers(0, 3, count)
        order = np.argsort(-scores, kind="stable")
        sizes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
        single = suppress(boxes[order], np.zeros(count, int), limit, 1000)
        theirs: Any = cv2.dnn.NMSBoxes(sizes, scores.tolist(), 0.0, limit)
        assert order[single].tolist() == list(theirs)
        several = order[suppress(boxes[order], classes[order], limit, 1000)]
        theirs = cv2.dnn.NMSBoxesBatched(sizes, scores.tolist(), classes.tolist(), 0.0, limit)
        assert sorted(several.tolist()) == sorted(theirs)


def test_a_box_without_area_overlaps_none() -> None:
    boxes = np.array([[5, 5, 5, 9], [0, 0, 9, 9], [5, 5, 5, 9], [3, 3, 3, 3.0]])
    assert suppress(boxes, np.zeros(4, int), 0.0, 10).tolist() == [0, 1, 2, 3]


def test_most() -> None:
    boxes = np.arange(400.0).reshape(100, 4)[:, [0, 0, 1, 1]] + [0, 0, 1, 1]
    assert len(suppress(boxes, np.zeros(100, int), 0.5, 7)) == 7


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 88.0])
def test_wild_outputs(manifest: Manifest, name: str, value: float) -> None:
    """What a float model may give: no warning, which is an error here, and boxes within it."""
    head, rng = HEADS[name], np.random.default_rng(0)
    count = len(box_heads.places(head, *SHAPE[:2])) or 11
    rows, scores, there = box_heads.random_outputs(head, count, rng)
    for array in filter(lambda one: one is not None, (rows, scores, there)):
        array[rng.uniform(size=array.shape) < 0.3] = value  # type: ignore[index,union-attr]
    outputs = laid_out(head, {"boxes": rows, "objectness": there, "scores": scores})
    shapes = {key: array.shape for key, array in outputs.items()}
    found = Detector(manifest_of(manifest, head, shapes)).find(outputs, WHOLE, score=0.0)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (64, 48, 64, 48)).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.probabilities >= 0).all()
    assert (found.probabilities <= 1).all()


def crowd(labels: int, count: int = 2000) -> tuple[BoxHead, dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    anchors = tuple((float(x), float(y), 8.0, 8.0) for x, y in rng.uniform(0, 48, (count, 2)))
    head = BoxHead(("b",), ("s",), tuple(map(str, range(labels))), "deltas", anchors=anchors)
    boxes = rng.normal(0, 0.3, (count, 4)).astype(np.float32)
    return head, {"b": boxes, "s": rng.normal(0, 2, (count, labels)).astype(np.float32)}


def test_no_limit_is_bounded(manifest: Manifest) -> None:
    """180,000 pairs of candidate and label, all of which count."""
    head, outputs = crowd(90)
    head = replace(head, score_limit=0.0, max_detections=1000, iou_limit=0.99)
    detector = Detector(manifest_of(manifest, head, {k: v.shape for k, v in outputs.items()}))
    start = time.perf_counter()
    found = detector.find(outputs, WHOLE)
    assert time.perf_counter() - start < 5  # 30 ms on a quiet machine
    assert len(found.boxes) == 1000
    tracemalloc.start()
    try:
        detector.find(outputs, WHOLE)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_most_probable_pairs_are_kept(manifest: Manifest) -> None:
    head, outputs = crowd(90)
    head = replace(head, score_limit=0.0, max_detections=1000, iou_limit=1.0)
    found = Detector(manifest_of(manifest, head, {k: v.shape for k, v in outputs.items()})).find(
        outputs, WHOLE
    )
    best = np.sort(outputs["s"].ravel())[::-1]
    least = 1 / (1 + np.exp(-best[MAX_PAIRS]))
    assert (found.probabilities >= least).all()
    assert (np.diff(found.probabilities) <= 0).all()


@pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan"), "0.5", True + 1])
def test_wrong_limits(manifest: Manifest, limit: Any) -> None:
    detector, outputs = Detector(manifest), {"distances": np.zeros(0), "scores": np.zeros(0)}
    for name in ("score", "iou"):
        with pytest.raises(UsageError, match=f"^{name}: expected a number from 0 to 1, got "):
            detector.find(outputs, WHOLE, **{name: limit})  # type: ignore[arg-type]


SHAPES = {"b": (9, 4), "s": (9, 4), "o": (9, 1)}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"unit": "strides"}, "boxes.unit: expected pixels, for deltas, got 'strides'"),
    ({"bins": 16}, "boxes.bins: expected 1, for deltas, got 16"),
    ({"anchors": ()}, "boxes.levels: expected levels with sizes or anchors, one of both"),
    ({"levels": SIZES}, "boxes.levels: expected levels with sizes or anchors, one of both"),
    ({"anchors": (), "levels": LEVELS}, "boxes.levels: expected levels with sizes or anchors"),
    ({"coding": "distances"}, "boxes: expected no anchors and no sizes, for distances"),
    ({"coding": "distances", "anchors": ()}, "boxes.levels: expected levels, for distances, got 0"),
    ({"coding": "corners", "anchors": (), "levels": LEVELS}, "boxes.levels: expected none, for"),
    ({"boxes": ("x",)}, "boxes.boxes[0]: expected an output of values: 'b', 's', 'o', got 'x'"),
    ({"scores": ("s", "s")}, "boxes.scores: expected names that differ, got ('s', 's')"),
    ({"labels": ("a",)}, "boxes: output 's' of scores (2): expected shape (N, candidates, 2), got "
     "(N, 9, 4)"),
    ({"objectness": ("b",)}, "boxes: output 'b' of boxes (4), objectness (1): expected "),
    ({"candidates_last": True}, "boxes: output 'b' of boxes (4): expected shape (N, 4, "
     "candidates), got (N, 9, 4)"),
    ({"anchors": HEADS["SSD of TensorFlow"].anchors[1:]}, "boxes.anchors: expected 9 candidates"),
    ({"anchors": (), "levels": SIZES}, "boxes.levels: expected 9 candidates, as outputs have, got"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "said"), WRONG)
def test_contradictions(fields: dict[str, Any], said: str) -> None:
    head = HEADS["SSD of TensorFlow"]
    assert list(head_contradictions(head, SHAPE, SHAPES)) == []
    found = list(head_contradictions(replace(head, **fields), SHAPE, SHAPES))
    assert found[0].startswith(said)


def test_other_models() -> None:
    said = list(head_contradictions(HEADS["SSD"], None, SHAPES))
    assert said == ["boxes: expected a model of one image"]
    uneven = list(head_contradictions(HEADS["background last"], SHAPE, {**SHAPES, "s": (8, 4)}))
    assert uneven == [
        "boxes: expected as many candidates of each, got 9 boxes, 8 scores: see labels, "
        "background, bins"
    ]


def test_heads_can_be_compared_and_written() -> None:
    for head in HEADS.values():
        assert len({head, replace(head)}) == 1
        assert row_width(head, head.boxes[0]) >= 4
        assert set(asdict(head)) == set(BoxHead.__annotations__)
