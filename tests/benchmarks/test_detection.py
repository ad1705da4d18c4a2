"""A detector measured: mean average precision in reports, tables, pages, gates and verdicts."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from narrow import array, some
from numpy.typing import NDArray
from PIL import Image

from tinsmith_bench import Options, bench
from tinsmith_bench.gates.compare import moves
from tinsmith_bench.gates.gate import judge, parse_gate
from tinsmith_bench.rendering.html import html
from tinsmith_bench.rendering.markdown import markdown
from tinsmith_bench.rendering.terminal import open_terminal, print_report
from tinsmith_bench.report_data import Detection, Estimate, Report
from tinsmith_bench.report_data.reading import parse_report
from tinsmith_bench.samples import find_samples
from tinsmith_bench.stats.detection import find_boxes, judge_boxes, map_changes
from tinsmith_report.average_precision import average_precisions, match_boxes
from tinsmith_runtime import InputError, Manifest, load, read_bundle
from tinsmith_runtime.cli import main

BOXES = Path(__file__).parents[1] / "data" / "boxes.tin"
pytestmark = pytest.mark.slow
QUICK = Options(rounds=4, processes=2, cold_starts=1, batches=(1,))


def scenes(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """What `boxes.tin` was made for: a square or a ring on noise, `(N, 32, 32, 1)`, and its box."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, 32, 32, 1)).astype(np.uint8)
    boxes = np.full((count, 2, 5), -1)
    for image, rows in zip(images, boxes, strict=True):
        size, kind = int(rng.integers(7, 13)), int(rng.integers(2))
        left, top = rng.integers(0, 32 - size + 1, 2)
        image[top : top + size, left : left + size] = rng.integers(180, 256)
        if kind:
            image[top + 2 : top + size - 2, left + 2 : left + size - 2] = 10
        rows[0] = kind, left, top, left + size, top + size
    return images, boxes


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_bundle(BOXES).manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, boxes = scenes(60, 0)
    path = tmp_path_factory.mktemp("boxes") / "scenes.npz"
    np.savez(path, x_test=images, y_test=boxes)
    return path


@pytest.fixture(scope="module")
def report(data: Path) -> Report:
    return bench([BOXES], data=data, options=QUICK)


def outputs(images: NDArray[np.uint8], precision: str) -> tuple[NDArray[np.float32], ...]:
    with load(BOXES, precision=precision) as model:
        return tuple(array(one) for one in model.decode(model.run(model.encode(images))))


def test_boxes_are_those_of_the_runtime(manifest: Manifest) -> None:
    """At the head's own limit, `bench` judges what `model.detect` gives."""
    images, _ = scenes(12, 1)
    head = some(manifest.boxes)
    found = find_boxes(outputs(images, "int8"), manifest)
    with load(BOXES, precision="int8") as model:
        for image, rows in zip(images, found, strict=True):
            sure = rows[rows[:, 1] >= head.score_limit]
            expected = model.detect(image)
            assert [head.labels[int(row[0])] for row in sure] == [one.label for one in expected]
            np.testing.assert_array_equal(sure[:, 2:], [one.box for one in expected])
    assert len(np.concatenate(found)) > sum(len(model) for model in [images]) / 2


def test_the_report_has_mean_average_precision(report: Report, data: Path) -> None:
    with np.load(data) as arrays:
        images, truth = arrays["x_test"], arrays["y_test"]
    manifest = read_bundle(BOXES).manifest
    assert (report.dataset.targets, report.dataset.labels) == ("boxes", ("square", "ring"))
    for one in report.variants:
        found = find_boxes(outputs(images, one.precision), manifest)
        average = average_precisions(match_boxes(found, truth, 2), np.ones((1, 60)))[0]
        detection = some(one.detection)
        # An engine's floats may differ in the last digit from another's.
        assert detection.map50.value == pytest.approx(average[:, 0].mean(), abs=1e-3)
        assert detection.map.value == pytest.approx(average.mean(), abs=1e-3)
        assert detection.map50.low <= detection.map50.value <= detection.map50.high
        assert [entry.boxes for entry in detection.classes] == [
            int((truth[..., 0] == index).sum()) for index in range(2)
        ]
        assert detection.map50.value > 0.8
        assert (one.accuracy, one.regression) == (None, None)
    for pair in report.comparisons:
        change = some(pair.map50_change)
        mine, its = (
            next(some(v.detection) for v in report.variants if v.id == name)
            for name in (pair.candidate, pair.baseline)
        )
        assert change.value == pytest.approx(mine.map50.value - its.map50.value)
        assert change.low <= change.value <= change.high
    assert not any("several outputs" in note for note in report.notes)


def test_the_report_can_be_read_again_and_shown(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse_report(report.to_json().encode(), "it") == report
    words = markdown(report)
    assert "mAP@0.5 %" in words
    assert "Boxes: mean average precision in %" in words
    assert "mAP@0.5" in report.verdict[1]
    print_report(report, open_terminal(sys.stdout))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "Average precision of each class" in printed


def test_the_page_shows_images_with_boxes(report: Report, browser: Browser) -> None:
    page = html(report)
    assert page.count('class="truth"') == sum(2 * len(image.truth) for image in report.images)
    assert page.count('class="found"') >= 8
    assert "<text" in page
    seen = browser.look(page, 390)
    assert seen["overflow"] == 0
    assert "boxes" in seen["sections"]


def test_a_paired_interval_is_narrower(manifest: Manifest) -> None:
    """Images that are hard are so for both: of the difference they are taken out."""
    images, truth = scenes(80, 2)
    truth[:40, 0, 1:] += np.random.default_rng(0).integers(-2, 3, (40, 1))  # not quite there
    one, other = (
        judge_boxes(outputs(images, precision), manifest, truth, np.random.default_rng(0))
        for precision in ("int8", "float")
    )
    _, change = map_changes(one, other)
    alone = one.detection.map
    assert 0 < change.high - change.low < alone.high - alone.low
    same, _ = map_changes(one, one)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def with_map(report: Report, value: float) -> Report:
    """A report of detectors with another mAP, and intervals of 0.01 around it."""
    estimate = Estimate(value, value - 0.005, value + 0.005)
    changed = tuple(
        replace(one, detection=Detection(estimate, estimate, some(one.detection).classes))
        for one in report.variants
    )
    return replace(report, variants=changed)


@pytest.mark.parametrize(
    ("gate", "value", "stopped"),
    [
        ("map50 < -1pp", 0.75, True),
        ("map50 < -1pp", 0.795, False),  # not by more than chance
        ("map < -10pp", 0.75, False),
        ("map < 70%", 0.69, True),
        ("map < 0.7", 0.71, False),
    ],
)
def test_gates(report: Report, gate: str, value: float, stopped: bool) -> None:
    old, new = with_map(report, 0.8), with_map(report, value)
    failed, untried = judge([parse_gate(gate)], old, new)
    assert (bool(failed), untried) == (stopped, [])
    assert {move.metric for move in moves(old, new)[0]} >= {"map50", "map"}


@pytest.mark.parametrize(
    ("change", "value", "said"),
    [
        ("variants.0.detection", None, "variants[0].detection: expected it where targets are"),
        ("variants.0.detection.map50.high", 2.0, "variants[0].detection.map50: expected 0 <="),
        ("variants.0.detection.classes.0.label", "x", "classes: expected one for each label"),
        ("images.0.index", 60, "images[0].index: expected a number from 0 to 59"),
        ("images.0.pixels", "AAAA", "images[0].pixels: expected those of an image"),
        ("images.0.truth.0.label", 2, "images[0].truth[0].label: expected a number from 0 to 1"),
        ("images.0.found.0.variant", "x", "found[0].variant: expected one of the variants"),
        ("comparisons.0.map_change.low", -3.0, "comparisons[0].map_change: expected -1 <="),
    ],
)
def test_a_report_that_contradicts_itself(
    report: Report, change: str, value: object, said: str
) -> None:
    tree = json.loads(report.to_json())
    *way, last = change.split(".")
    at: Any = tree
    for step in way:
        at = at[int(step) if isinstance(at, list) else step]
    at[last] = value
    with pytest.raises(InputError) as error:
        parse_report(json.dumps(tree).encode(), "it")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (np.tile([[2, 1, 1, 9, 9]], (60, 1, 1)), "labels 0 to 1, got boxes of class 2"),
        (np.full((60, 1, 5), -1), "labels 0 to 1, got no box"),
        (np.tile([[0, 9, 1, 1, 9]], (60, 1, 1)), "left < right"),
    ],
)
def test_boxes_that_do_not_fit(
    boxes: NDArray[Any], said: str, manifest: Manifest, tmp_path: Path
) -> None:
    np.savez(tmp_path / "some.npz", x=scenes(60, 0)[0], y=boxes)
    with pytest.raises(InputError, match=said):
        find_samples([manifest], None, tmp_path / "some.npz", None)


def test_without_boxes_closeness_alone_is_measured(data: Path, tmp_path: Path) -> None:
    with np.load(data) as arrays:
        np.savez(tmp_path / "bare.npz", x=arrays["x_test"][:8])
    report = bench([BOXES], data=tmp_path / "bare.npz", options=QUICK)
    assert report.dataset.targets == "none"
    assert report.images == ()
    assert (
        "The data has no boxes: only how close a variant is to float can be told." in report.notes
    )


def coco(folder: Path, names: tuple[str, str]) -> None:
    """The scenes as files, each twice as large, with COCO's annotations."""
    images, boxes = scenes(60, 0)
    for index, image in enumerate(images):
        large = Image.fromarray(image[..., 0]).resize((64, 64), Image.Resampling.NEAREST)
        large.save(folder / f"{index:02}.png")
    tree = {
        "images": [{"id": index, "file_name": f"{index:02}.png"} for index in range(60)],
        "categories": [{"id": 5, "name": names[1]}, {"id": 9, "name": names[0]}],
        "annotations": [
            {
                "image_id": index,
                "category_id": (9, 5)[kind],
                "bbox": [2 * left, 2 * top, 2 * (right - left), 2 * (bottom - top)],
            }
            for index, [(kind, left, top, right, bottom), _] in enumerate(boxes.tolist())
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(tree))


def test_coco_names_the_classes(tmp_path: Path, manifest: Manifest) -> None:
    coco(tmp_path, ("square", "ring"))
    samples = find_samples([manifest], None, tmp_path, None)
    _, boxes = scenes(60, 0)
    truth = array(samples.targets)
    assert truth.shape == (60, 1, 6)
    assert (truth[:, 0, 0] == boxes[:, 0, 0]).all()
    np.testing.assert_allclose(truth[:, 0, 1:5], boxes[:, 0, 1:], atol=1e-4)


def test_a_class_that_the_bundle_has_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco(tmp_path, ("square", "cat"))
    assert main(["bench", str(BOXES), "--data", str(tmp_path), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "cat: expected boxes of the bundle's classes: square, ring" in said
    assert said.count("\n") == 1
