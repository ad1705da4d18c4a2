"""What boxes cost behind the engine: 2,000 candidates decoded and suppressed, beside OpenCV.

    python benchmarks/boxes.py [--calls 200] [--write docs/reference/detector-head.md]

Each row is a head and how probable its candidates are; the last has 2,100 places. `decode and
suppress` is `Detector.find`, from the outputs to boxes in the photo; `suppress` is the last part of
it alone, and `OpenCV` is `cv2.dnn.NMSBoxesBatched` on the same decoded boxes, probabilities and
limits. The three are called in turn, in one run; the medians are told, and of the first the
shortest too. What is allowed is 2 ms. OpenCV gives all that is left, tinsmith the 100 most
probable.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pages import write_between
from tinsmith_runtime.bundle import BoxHead, BoxLevel
from tinsmith_runtime.detect.decode import decode_boxes, make_anchors
from tinsmith_runtime.detect.detector import Detector
from tinsmith_runtime.detect.scores import Pairs, select
from tinsmith_runtime.detect.suppress import suppress
from tinsmith_runtime.inputs.placement import place

CANDIDATES, SIDE, ALLOWED_MS = 2000, 320, 2.0
HEADER = (
    "| head | labels | pairs that count | decode and suppress, ms | its shortest | "
    "suppress, ms | OpenCV, ms | within 2 ms |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Case:
    """A head and outputs for it.

    Attributes:
        name: of the row.
        head: of 2,000 candidates.
        outputs: what a model gives for one image.
    """

    name: str
    head: BoxHead
    outputs: dict[str, NDArray[np.float32]]


def anchors(rng: np.random.Generator) -> tuple[tuple[float, float, float, float], ...]:
    """2,000 anchors of 32 by 32 pixels anywhere."""
    return tuple((float(x), float(y), 32.0, 32.0) for x, y in rng.uniform(0, SIDE, (CANDIDATES, 2)))


def cases() -> list[Case]:
    """The rows of the table."""
    found = []
    for labels, every in ((1, True), (20, True), (90, True), (20, False), (90, False)):
        rng = np.random.default_rng(labels)
        head = BoxHead(("boxes",), ("scores",), names(labels), "deltas", anchors=anchors(rng))
        scores = rng.normal(-5, 1, (CANDIDATES, labels))
        count = CANDIDATES if every else CANDIDATES // 20
        chosen = rng.permutation(CANDIDATES)[:count]
        scores[chosen, rng.integers(0, labels, count)] = rng.uniform(0, 4, count)
        boxes = rng.normal(0, 0.2, (CANDIDATES, 4))
        outputs = {"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)}
        found.append(Case(f"anchors, {'all' if every else '1 of 20'} probable", head, outputs))
    rng = np.random.default_rng(0)
    head = BoxHead(
        ("boxes",), ("scores",), names(90), "deltas", anchors=anchors(rng),
        activation="softmax", background="first",
    )  # fmt: skip
    scores = rng.normal(0, 1, (CANDIDATES, 91))
    scores[:, 0] += 8
    scores[rng.permutation(CANDIDATES)[:100], rng.integers(1, 91, 100)] += 9
    boxes = rng.normal(0, 0.2, (CANDIDATES, 4))
    outputs = {"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)}
    found.append(Case("anchors, softmax", head, outputs))
    levels = tuple(BoxLevel(stride) for stride in (8.0, 16.0, 32.0))
    head = BoxHead(
        ("boxes",), ("scores",), names(80), "distances", unit="strides", levels=levels, bins=16
    )
    count = 1600 + 400 + 100
    scores = rng.normal(-5, 1, (count, 80))
    scores[np.arange(count), rng.integers(0, 80, count)] = rng.uniform(0, 4, count)
    boxes = rng.normal(0, 1, (count, 64))
    outputs = {"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)}
    found.append(Case("distributions of 16 bins, all probable", head, outputs))
    return found


def names(count: int) -> tuple[str, ...]:
    """Labels."""
    return tuple(map(str, range(count)))


def measure(case: Case, calls: int) -> str:
    """The row of a case."""
    placement = place((640, 480), (SIDE, SIDE), "contain")
    detector = detector_of(case.head)
    pairs = select(case.head, case.outputs["scores"], None, case.head.score_limit)
    boxes = decoded(case, pairs)
    sizes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
    scores, classes = pairs.probabilities.tolist(), pairs.classes.tolist()
    iou = case.head.iou_limit
    ways: list[Callable[[], Any]] = [
        lambda: detector.find(case.outputs, placement),
        lambda: suppress(boxes, pairs.classes, iou, case.head.max_detections),
        lambda: cv2.dnn.NMSBoxesBatched(sizes, scores, classes, 0.0, iou),
    ]
    times = np.empty((calls, len(ways)))
    for row in times:
        for column, way in enumerate(ways):
            start = perf_counter_ns()
            way()
            row[column] = (perf_counter_ns() - start) / 1e6
    whole, alone, opencv = np.median(times, axis=0)
    least = times[:, 0].min()
    good = "yes" if whole < ALLOWED_MS else "no"
    return (
        f"| {case.name} | {len(case.head.labels)} | {len(boxes):,} | {whole:.2f} | {least:.2f} | "
        f"{alone:.2f} | {opencv:.2f} | {good} |"
    )


def decoded(case: Case, pairs: Pairs) -> NDArray[np.float64]:
    """The boxes of pairs, in the input's pixels."""
    where = make_anchors(case.head, SIDE, SIDE)[pairs.rows]
    return decode_boxes(case.head, case.outputs["boxes"][pairs.rows], where, (SIDE, SIDE, 3))


def detector_of(head: BoxHead) -> Detector:
    """A detector on a model of 320 by 320 pixels."""
    source = SimpleNamespace(sample_shape=(SIDE, SIDE, 3), preprocessing=None)
    manifest: Any = SimpleNamespace(boxes=head, input=source, outputs=())
    return Detector(manifest)


def main() -> None:
    """Prints the table, and writes it where it is asked for."""
    from tinsmith_runtime.cpu import read_cpu

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table there")
    arguments = parser.parse_args()
    table = "\n".join([HEADER, *(measure(case, arguments.calls) for case in cases())])
    where = f"Measured by `benchmarks/boxes.py` on {read_cpu()}: each row, in turn, in one run."
    print(f"{where}\n\n{table}")
    if arguments.write:
        write_between(arguments.write, "boxes", f"{where}\n\n{table}")


if __name__ == "__main__":
    main()
