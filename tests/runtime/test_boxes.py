"""A bundle of a detector: `Model.detect`, the commands, and what they draw."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrow import array
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import (
    BundleError,
    Detection,
    InputError,
    Model,
    UsageError,
    load,
    read_bundle,
    selftest,
)
from tinsmith_runtime.bundle import Manifest, dump_manifest, parse_manifest
from tinsmith_runtime.cli import main
from tinsmith_runtime.detect import Detector
from tinsmith_runtime.inputs.placement import place

Said = pytest.CaptureFixture[str]
RED = (242, 24, 24)


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """640 by 400 pixels with a square at (80, 60, 280, 260) and a ring at (380, 120, 600, 340)."""
    pixels = np.random.default_rng(0).integers(0, 40, (400, 640)).astype(np.uint8)
    pixels[60:260, 80:280] = 220
    pixels[120:340, 380:600] = 220
    pixels[160:300, 420:560] = 20
    return Image.fromarray(pixels)


SQUARE, RING = (80, 60, 280, 260), (380, 120, 600, 340)


@pytest.fixture
def photos(tmp_path: Path, scene: Image.Image) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    scene.save(folder / "a.png")
    scene.convert("RGB").save(folder / "b.jpg", quality=95)
    np.save(folder / "c.npy", np.asarray(scene.resize((32, 32))))
    return folder


@pytest.fixture
def model(boxes: Path, engine: str) -> Model:
    return load(boxes, engine)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def near(found: Detection, label: str, box: tuple[float, ...], by: float = 25) -> None:
    """To 25 pixels of the photo, which are 1.25 of the input's 32: the model is a small one."""
    assert found.label == label
    assert found.probability > 0.9
    assert found.box == pytest.approx(box, abs=by)


def test_in_the_photos_own_pixels(model: Model, scene: Image.Image) -> None:
    square, ring = model.detect(scene)
    near(square, "square", SQUARE)
    near(ring, "ring", RING)
    assert model.detect(scene, score=0.999) == []
    (first, *rest) = model.detect(scene, score=0.0, iou=1.0)
    assert first == square
    assert len(rest) > 2


def test_a_photo_that_was_taken_upright(model: Model, scene: Image.Image) -> None:
    """Its boxes are where a viewer sees it, who turns it too."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    scene.save(buffer, "PNG", exif=exif)
    turned = model.detect(buffer.getvalue())
    upright = model.detect(scene.transpose(Image.Transpose.ROTATE_270))
    assert turned == upright
    for found in turned:
        near(found, *(("square", (140, 80, 340, 280)) if found.label == "square" else
                      ("ring", (60, 380, 280, 600))), by=30)  # fmt: skip


def test_arrays_have_the_models_size(model: Model, scene: Image.Image) -> None:
    pixels = np.asarray(scene.resize((32, 32)))
    found = model.detect(pixels)
    assert found == model.detect(pixels[..., np.newaxis])
    assert all(0 <= side <= 32 for one in found for side in one.box)
    with pytest.raises(InputError, match=r"image: expected shape \(32, 32, 1\), got \(400, 640\)"):
        model.detect(np.asarray(scene))


def test_both_engines_find_the_same(boxes: Path, scene: Image.Image) -> None:
    assert load(boxes, "litert").detect(scene) == load(boxes, "onnx").detect(scene)
    assert all(not result.mismatch for result in selftest(boxes))


def test_the_float_model_finds_nearly_the_same(boxes: Path, scene: Image.Image) -> None:
    for found, other in zip(
        load(boxes).detect(scene), load(boxes, precision="float").detect(scene), strict=True
    ):
        assert found.probability == pytest.approx(other.probability, abs=0.03)
        assert found.box == pytest.approx(other.box, abs=8)


def test_which_function(boxes: Path, tiny: Path, pair: Path, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match=r"^classify: the model finds boxes: use detect$"):
        load(boxes).classify(pixels[0])
    for path, instead in ((tiny, "classify"), (pair, "predict")):
        said = f"^detect: the bundle does not describe boxes: use {instead}$"
        with pytest.raises(UsageError, match=said):
            load(path).detect(pixels[0])


def test_a_closed_model(boxes: Path, scene: Image.Image) -> None:
    with load(boxes) as model:
        model.detect(scene)
    with pytest.raises(UsageError, match="closed"):
        model.detect(scene)


def test_no_such_file(boxes: Path) -> None:
    with pytest.raises(UsageError, match=r"^missing\.png: no such file$"):
        load(boxes).detect("missing.png")


def test_run(boxes: Path, photos: Path, capsys: Said) -> None:
    assert main(["run", str(boxes), str(photos)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, name in zip(lines, ("a.png", "b.jpg", "c.npy"), strict=True):
        assert line.startswith(f"{photos / name}: square 9")
        assert line.count("%") == line.count("ring ") + line.count("square ")
    assert lines[0].count("%") == lines[1].count("%") == 2
    assert main(["run", str(boxes), str(photos), "--min-probability", "1"]) == 0
    assert capsys.readouterr().out.count("nothing that probable") == 3


def test_run_json(boxes: Path, photos: Path, capsys: Said, scene: Image.Image) -> None:
    words = ["run", str(boxes), str(photos / "a.png"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image"] == str(photos / "a.png")
    wanted = load(boxes).detect(scene)
    assert [
        Detection(d["label"], d["probability"], tuple(d["box"])) for d in found["detections"]
    ] == (wanted)
    assert main([*words, "--top", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["detections"]) == 1
    assert main([*words, "--iou", "1", "--min-probability", "0"]) == 0
    assert len(json.loads(capsys.readouterr().out)["detections"]) > 3


def test_standard_input(
    boxes: Path, photos: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = (photos / "a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["run", str(boxes), "-", "--draw", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("standard input: square 9")
    assert names(tmp_path / "out") == ["standard-input.png"]


def test_draw(boxes: Path, photos: Path, tmp_path: Path, scene: Image.Image) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    out = tmp_path / "new" / "out"
    assert main(["run", str(boxes), str(photos), "--draw", str(out)]) == 0
    assert names(out) == ["a.png", "b.jpg", "c.png"]
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
    with Image.open(out / "a.png") as drawn, Image.open(out / "b.jpg") as jpeg:
        assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", scene.size)
        assert (jpeg.format, jpeg.size) == ("JPEG", scene.size)
        pixels = np.asarray(drawn)
    square = next(one for one in load(boxes).detect(scene) if one.label == "square")
    left, top, right, bottom = (round(side) for side in square.box)
    red = (pixels == RED).all(axis=2)
    assert red[top:bottom, left : left + 2].all()
    assert red[top:bottom, right - 2 : right].all()
    assert red[bottom - 2 : bottom, left:right].all()
    assert not red[top + 30 : bottom - 4, left + 4 : right - 4].any()  # the words lie above
    assert red[top - 14 : top, left : left + 20].any()
    with Image.open(out / "c.png") as small:  # 15 times its size: words can be read
        assert small.size == (480, 480)


def test_draw_twice_and_names_twice(boxes: Path, photos: Path, tmp_path: Path) -> None:
    """A drawing of an earlier run is replaced, one of this run is not."""
    (photos / "more").mkdir()
    (photos / "more" / "a.png").write_bytes((photos / "a.png").read_bytes())
    words = ["run", str(boxes), f"{photos}/a.png", f"{photos}/more/a.png", "--draw"]
    for _ in range(2):
        assert main([*words, str(tmp_path / "out")]) == 0
        assert names(tmp_path / "out") == ["a-2.png", "a.png"]


@pytest.mark.parametrize("way", ["folder", "file", "link to the folder", "link to the file"])
def test_an_input_is_never_overwritten(
    boxes: Path, photos: Path, tmp_path: Path, capsys: Said, way: str
) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    source, out = photos, photos
    if way == "file":
        source = photos / "a.png"
    elif way == "link to the folder":
        out = tmp_path / "link"
        out.symlink_to(photos)
    elif way == "link to the file":
        source = tmp_path / "a.png"
        source.symlink_to(photos / "a.png")
    assert main(["run", str(boxes), str(source), "--draw", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"tinsmith: error: --draw: {out} holds the input ")
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_where_nothing_can_be_drawn(
    boxes: Path, photos: Path, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "file").write_text("x")
    for out, status, said in (
        ("file", 2, "file: expected a folder for pictures, found something else"),
        ("file/out", 1, "Not a directory"),
    ):
        assert main(["run", str(boxes), str(photos), "--draw", str(tmp_path / out)]) == status
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert said in captured.err


@pytest.mark.parametrize("words", [["--draw", "out"], ["--iou", "0.5"]])
def test_other_bundles_draw_nothing(
    tiny: Path, images: Path, capsys: Said, words: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(tiny), str(images), *words]) == 2
    assert capsys.readouterr().err == (
        "tinsmith: error: --draw, --iou: the bundle does not describe boxes\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan"])
def test_wrong_shares(boxes: Path, photos: Path, capsys: Said, share: str) -> None:
    assert main(["run", str(boxes), str(photos), "--iou", share]) == 2
    assert "--iou: expected a number from 0 to 1, got " in capsys.readouterr().err


def test_bad_photos_among_good_ones(
    boxes: Path, photos: Path, tmp_path: Path, capsys: Said
) -> None:
    (photos / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\n??")
    (photos / "ab.png").symlink_to("nothing")
    assert main(["run", str(boxes), str(photos), "--draw", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert said.err.splitlines()[-1] == "tinsmith: 2 of 5 inputs could not be read"
    assert names(tmp_path / "out") == ["a.png", "b.jpg", "c.png"]


def test_frames_of_a_video(boxes: Path, scene: Image.Image, tmp_path: Path, capsys: Said) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, scene.size)
    for _ in range(3):
        writer.write(np.asarray(scene.convert("RGB")))
    writer.release()
    out = tmp_path / "out"
    words = ["run", str(boxes), "--camera", str(path), "--frames", "2", "--draw", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out.count("square") == 2
    assert names(out) == ["frame-1.png", "frame-2.png"]


def test_inspect(boxes: Path, capsys: Said) -> None:
    assert main(["inspect", str(boxes)]) == 0
    said = capsys.readouterr().out
    assert "images    made grey, padded to that size with 114, bilinear" in said
    assert (
        "boxes     2 labels (square, ring), distances to the sides from distances, scores" in said
    )
    assert main(["inspect", str(boxes), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"]["levels"] == [
        {"stride": 8.0, "sizes": [], "grid": None}
    ]


def edited(bundle: Path, **fields: object) -> Any:
    tree = json.loads(read_bundle(bundle).files["manifest.json"])
    tree["boxes"] |= fields
    return tree


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"labels": []}, "boxes.labels: expected 1 to 10000, got []"),
        ({"labels": ["a"]}, "boxes: expected as many candidates of each, got 16 boxes, 32"),
        ({"labels": ["a", "\x1b"]}, "boxes.labels[1]: expected text without control characters"),
        ({"coding": "polar"}, "boxes.coding: expected deltas or distances or corners or centers"),
        ({"variances": [0, 1, 1, 1]}, "boxes.variances[0]: expected 0.000001 to 1000, got 0"),
        ({"variances": [1, 1, 1]}, "boxes.variances: expected 4 elements, got [1, 1, 1]"),
        ({"levels": [{"stride": -8}]}, "boxes.levels[0].stride: expected more than 0, at most"),
        ({"levels": [{"stride": 1e300}]}, "boxes.levels[0].stride: expected more than 0, at most"),
        (
            {"levels": [{"stride": 0.001}]},
            "boxes.levels: expected 16 candidates, as outputs have, ",
        ),
        ({"levels": [{"stride": 8, "grid": [1 << 30, 1 << 30]}]}, "boxes.levels: expected 16 "),
        ({"levels": [{"stride": 8}] * 17}, "boxes.levels: expected at most 16 levels, got "),
        ({"bins": 1 << 40}, "boxes.bins: expected 1 to 256, got 1099511627776"),
        ({"bins": 16}, "boxes: output 'distances' of boxes (64): expected shape (N, "),
        ({"score_limit": 1.5}, "boxes.score_limit: expected 0 to 1, got 1.5"),
        ({"max_detections": 10**6}, "boxes.max_detections: expected 1 to 1000, got 1000000"),
        ({"boxes": ["logits"]}, "boxes.boxes[0]: expected an output of values: 'distances', 's"),
        ({"boxes": []}, "boxes.boxes: expected 1 to 16 names, got []"),
        ({"novelty": 1}, "boxes.'novelty': unknown field"),
    ],
)
def test_wrong_heads(
    boxes: Path, seal: Callable[[Any], bytes], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError) as caught:
        parse_manifest(seal(edited(boxes, **fields)))
    assert str(caught.value).startswith(f"manifest.json: {said}")
    assert len(str(caught.value)) < 500


def test_long_names_make_no_long_error(boxes: Path, seal: Callable[[Any], bytes]) -> None:
    tree = edited(boxes)
    for output in tree["outputs"]:
        output["name"] += 5000 * "x"
    with pytest.raises(BundleError, match=r"boxes\.boxes\[0\]: expected an output of") as caught:
        parse_manifest(seal(tree))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_none(boxes: Path, seal: Callable[[Any], bytes], number: bytes) -> None:
    import mutations

    tree = edited(boxes, variances=[123456.0, 1, 1, 1])
    assert mutations.seal(tree) == seal(tree)
    text = json.dumps({k: v for k, v in tree.items() if k != "manifest_sha256"}, indent=1)
    with pytest.raises(BundleError, match=r"boxes\.variances\[0\]: expected "):
        parse_manifest(text.replace("123456.0", number.decode()).encode())


def test_bundles_without_boxes_say_nothing_of_them(bundle: Any, boxes: Path) -> None:
    assert b'"boxes"' not in dump_manifest(bundle.manifest)
    assert b'"padding"' not in dump_manifest(bundle.manifest)
    manifest = read_bundle(boxes).manifest
    assert dump_manifest(manifest) == read_bundle(boxes).files["manifest.json"]
    assert parse_manifest(dump_manifest(manifest)) == manifest


strange = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([0, 1, 2, 0.0, 0.5, 1.0, 8, 16, 32, 1e-6, 1e3, "xy", "yx", "none", "softmax",
                       "sigmoid", "deltas", "distances", "corners", "centers", "pixels", "strides",
                       "geometric", "first", "last", [], {}, ["distances"], ["scores"], [[8, 8]]])
)  # fmt: skip


def places_of(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places_of(value, (*path, key))
    return found


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_field_of_a_head_with_any_value(
    data: st.DataObject, boxes: Path, seal: Callable[[Any], bytes]
) -> None:
    """It is refused in one line, or finds boxes that lie in the photo."""
    tree = edited(boxes)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(places_of(tree["boxes"])))
        place_ = tree["boxes"]
        for key in parents:
            place_ = place_[key]
        place_[last] = data.draw(strange)
    try:
        manifest = parse_manifest(seal(tree))
    except BundleError as error:
        said = str(error)
    else:
        said = ""
        check_finds(manifest)
    assert "\n" not in said
    assert len(said) < 1000


def check_finds(manifest: Manifest) -> None:
    """Boxes in random outputs lie in the photo."""
    rng = np.random.default_rng(0)
    outputs = {
        one.name: rng.normal(0, 9, one.sample_shape).astype("f4") for one in manifest.outputs
    }
    found = Detector(manifest).find(outputs, place((64, 40), (32, 32), "contain"))
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (64, 40, 64, 40)).all()
    assert len(found.boxes) <= 1000


def test_golden_inputs_are_scenes(boxes: Path) -> None:
    """What the int8 model was compared on is what a detector sees."""
    golden = read_bundle(boxes).golden()
    model = load(boxes)
    assert sum(bool(model.detect(image)) for image in array(golden.inputs)) > 25
