"""Detectors: the head that a user describes is held to the model, and goes into the bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from compiling import settle
from PIL import Image

from tinsmith_export import Options, Samples, check, compile_model
from tinsmith_export.boxes import read_head, require_head
from tinsmith_export.inputs.sources import Source, from_source
from tinsmith_runtime import load
from tinsmith_runtime.bundle import BoxHead, BoxLevel, Preprocessing
from tinsmith_runtime.bundle.keras_outputs import keras_outputs
from tinsmith_runtime.cli import main
from tinsmith_runtime.detect import Detector
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.placement import place

L = keras.layers
SIDE = 32
LABELS = ("cat", "dog")
LEVELS = (BoxLevel(8.0), BoxLevel(16.0))
SIZES = tuple(replace(o, sizes=((o.stride, o.stride), (2 * o.stride, o.stride))) for o in LEVELS)


def maps() -> tuple[Any, list[Any]]:
    """An image and two feature maps of it, at strides of 8 and 16."""
    source = keras.Input((SIDE, SIDE, 3), name="image")
    x = L.Conv2D(8, 3, strides=4, padding="same", activation="relu")(source)
    first = L.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    return source, [first, L.Conv2D(8, 3, strides=2, padding="same", activation="relu")(first)]


def rows(found: list[Any], width: int, anchors: int, name: str) -> Any:
    """Rows of all levels behind each other."""
    parts = [L.Reshape((-1, width))(L.Conv2D(anchors * width, 1)(x)) for x in found]
    return L.Concatenate(axis=1, name=name)(parts)


def ssd() -> Any:
    source, found = maps()
    scores = L.Softmax(name="conf")(rows(found, len(LABELS) + 1, 2, "joined"))
    return keras.Model(source, [rows(found, 4, 2, "loc"), scores], name="ssd")


def retinanet() -> Any:
    source, found = maps()
    scores = L.Activation("sigmoid", name="cls")(rows(found, len(LABELS), 2, "joined"))
    return keras.Model(source, [rows(found, 4, 2, "reg"), scores], name="retinanet")


def fcos() -> Any:
    source, found = maps()
    heads = {"reg": (4, "relu"), "cls": (len(LABELS), None), "ctr": (1, None)}
    outputs = [
        L.Conv2D(width, 1, activation=activation, name=f"{name}{number}")(x)
        for name, (width, activation) in heads.items()
        for number, x in enumerate(found)
    ]
    return keras.Model(source, outputs, name="fcos")


def yolov8() -> Any:
    source, found = maps()
    bins, scores = rows(found, 4 * 8, 1, "dfl"), rows(found, len(LABELS), 1, "cls")
    return keras.Model(source, [bins, scores], name="yolov8")


STYLES: dict[str, tuple[Callable[[], Any], BoxHead]] = {
    "SSD": (ssd, BoxHead(
        ("loc",), ("conf",), LABELS, "deltas", variances=(0.1, 0.1, 0.2, 0.2), levels=SIZES,
        background="first", activation="none",
    )),
    "RetinaNet": (retinanet, BoxHead(("reg",), ("cls",), LABELS, "deltas", levels=SIZES,
                                     activation="none")),
    "FCOS": (fcos, BoxHead(
        ("reg0", "reg1"), ("cls0", "cls1"), LABELS, "distances", objectness=("ctr0", "ctr1"),
        unit="strides", levels=LEVELS, objectness_mean="geometric",
    )),
    "YOLOv8": (yolov8, BoxHead(
        ("dfl",), ("cls",), LABELS, "distances", unit="strides", levels=LEVELS, bins=8,
    )),
}  # fmt: skip


@pytest.fixture(scope="module")
def samples() -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), np.uint8)
    return Samples("noise", "0" * 64, pixels, None, pixels, None, ())


@pytest.mark.parametrize("style", STYLES)
def test_the_head_of_a_detector(style: str, samples: Samples, tmp_path: Path) -> None:
    """Every engine finds the same boxes, and the float file those of the Keras model."""
    make, head = STYLES[style]
    keras.utils.set_random_seed(0)
    model, head = settle(make()), replace(head, score_limit=0.2, max_detections=5)
    options = Options(recipe="ptq", boxes=head, fit="contain", padding=114, max_changed_pp=100)
    exported = compile_model(model, samples, tmp_path / "a.tin", options)
    assert exported.manifest.boxes == head
    assert exported.manifest.input.preprocessing == Preprocessing(fit="contain", padding=114)
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 64, 3), np.uint8))
    found = [load(tmp_path / "a.tin", name).detect(photo) for name in ("native", "litert", "onnx")]
    assert found[0]
    assert found[0] == found[1] == found[2]
    pixels = np.full((SIDE, SIDE, 3), 114, np.uint8)
    pixels[6:26] = np.asarray(photo.resize((32, 20), Image.Resampling.BILINEAR))
    given = model.predict(pixels[np.newaxis] / np.float32(255), verbose=0)
    outputs = {
        one.name: array[0]
        for one, array in zip(keras_outputs(exported.manifest.outputs), given, strict=True)
    }
    wanted = Detector(exported.manifest).find(outputs, place((64, 40), (SIDE, SIDE), "contain"))
    exact = load(tmp_path / "a.tin", "litert", precision="float").detect(photo)
    assert [one.label for one in exact] == [LABELS[place] for place in wanted.classes]
    boxes = np.array([one.box for one in exact])
    # Of float32 that is computed in another order.
    assert boxes == pytest.approx(wanted.boxes, abs=1e-3)
    assert [one.probability for one in exact] == pytest.approx(wanted.probabilities, abs=1e-4)


def never() -> Any:
    raise AssertionError("the data are read")


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"boxes": ("box",)},
        r"boxes\.boxes\[0\]: expected an output of values: 'loc', 'conf', got 'box'",
    ),
    (
        {"labels": ("a",)},
        r"boxes: output 'conf' of scores \(2\): expected shape .* got \(N, 40, 3\)",
    ),
    ({"levels": SIZES[:1]}, r"boxes\.levels: expected 40 candidates, as outputs have, got 32"),
    ({"coding": "distances"}, "boxes: expected no anchors and no sizes, for distances"),
]


@pytest.mark.parametrize(("fields", "said"), WRONG)
def test_a_head_of_another_model(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    """It is told before any data are read."""
    options = Options(recipe="ptq", boxes=replace(STYLES["SSD"][1], **fields))
    with pytest.raises(UsageError, match=f"^{said}"):
        compile_model(ssd(), f"{__name__}:never", tmp_path / "a.tin", options)
    assert not (tmp_path / "a.tin").exists()


def test_check_knows_the_head(tmp_path: Path) -> None:
    ssd().save(tmp_path / "a.keras")
    assert check(tmp_path / "a.keras", Options(boxes=STYLES["SSD"][1])).layers
    with pytest.raises(UsageError, match=r"boxes\.boxes\[0\]: expected an output of values"):
        check(tmp_path / "a.keras", Options(boxes=STYLES["YOLOv8"][1]))


def test_labels_of_whole_images(samples: Samples, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), L.Flatten(), L.Dense(6)])
    head = BoxHead(("logits",), ("logits",), LABELS, "corners")
    labelled = replace(samples, evaluation_labels=np.zeros(40, np.int64))
    with pytest.raises(UsageError, match="boxes: noise has a label for each image, which a"):
        compile_model(model, labelled, tmp_path / "a.tin", Options(boxes=head))
    reals = samples.calibration.astype(np.float32)  # type: ignore[union-attr]
    features = replace(samples, calibration=reals, evaluation=reals)
    with pytest.raises(UsageError, match=r"boxes: expected uint8 images \(N, H, W, C\), noise has"):
        compile_model(model, features, tmp_path / "a.tin", Options(boxes=head))


HEAD = asdict(STYLES["SSD"][1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "head.json: "),
        ("[]", "head.json: boxes: expected an object, got []"),
        ('{"boxes": ["loc"]}', "head.json: boxes.scores: missing; boxes.labels: missing; boxes."),
        (json.dumps({**HEAD, "iou": 1}), "head.json: boxes.'iou': unknown field"),
        (
            json.dumps({**HEAD, "levels": [{"stride": 0}]}),
            "head.json: boxes.levels[0].stride: expected",
        ),
        (
            json.dumps({**HEAD, "boxes": ["x"]}),
            "boxes.boxes[0]: expected an output of values: 'loc'",
        ),
        ('{"boxes": ["loc"], "boxes": ["loc"]}', "head.json: 'boxes': expected every key once"),
        ("[" * 100_000, "head.json: "),
        (None, "head.json: no such file"),
    ],
)
def test_a_wrong_file(
    text: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = tmp_path / "a.keras", tmp_path / "head.json"
    ssd().save(model)
    if text is not None:
        file.write_text(text)
    words = ["export", str(model), "--data", "digits", "--boxes", str(file)]
    assert main([*words, "--out", str(tmp_path / "a.tin")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "a.tin").exists()


DOCS = Path(__file__).parents[2] / "docs"
# Of each example in the document: the input's height and width, and the outputs.
SHAPES: list[tuple[int, dict[str, tuple[int, ...]]]] = [
    (300, {"loc": (1383, 4), "conf": (1383, 3)}),
    (512, {"box3": (64, 64, 8), "box4": (32, 32, 8), "class3": (64, 64, 4), "class4": (32, 32, 4)}),
    (64, {"sides3": (8, 8, 4), "sides4": (4, 4, 4), "class3": (8, 8, 2), "class4": (4, 4, 2),
          "centre3": (8, 8, 1), "centre4": (4, 4, 1)}),
    (320, {"boxes": (2100, 64), "classes": (2100, 2)}),
]  # fmt: skip


def test_the_examples_of_the_document(tmp_path: Path) -> None:
    examples = re.findall(
        r"```json\n(.*?)```", (DOCS / "how-to/detectors.md").read_text(), re.DOTALL
    )
    for text, (side, outputs) in zip(examples, SHAPES, strict=True):
        (tmp_path / "head.json").write_text(text)
        require_head(read_head(tmp_path / "head.json"), (side, side, 3), outputs)


def test_the_document_knows_all_fields() -> None:
    page = (DOCS / "reference/detector-head.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"\w+", row)}
    assert told - {"deltas", "distances", "corners", "centers"} == set(BoxHead.__annotations__)


def test_data_are_fitted_as_photos_will_be(tmp_path: Path) -> None:
    for number in range(20):
        Image.new("L", (64, 32), 10 * number).save(tmp_path / f"{number}.png")
    rules = Preprocessing(fit="contain", padding=114)
    found = from_source(Source(str(tmp_path)), (16, 16, 1), 0, None, rules)
    for pixels in (found.calibration, found.evaluation):
        assert isinstance(pixels, np.ndarray)
        assert (pixels[:, :4] == pixels[:, 12:]).all()
        assert (pixels[:, :4] == 114).all()
        assert (pixels[:, 4:12, 0, 0] % 10 == 0).all()
