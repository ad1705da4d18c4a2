import json
import os
from dataclasses import asdict

import numpy as np
import pytest

from tinsmith_runtime.command import main
from tinsmith_runtime.manifest import parse_manifest


def test_run(tiny, images, bundle, capsys, engine):
    assert main(["run", str(tiny), str(images), "--backend", engine, "--threads", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert len(lines) == 3
    labels = bundle.manifest.output.labels
    top = bundle.golden().outputs_int8.argmax(axis=1)
    for line, name, best in zip(lines, ("a.png", "b.jpg", "c.npy"), top, strict=False):
        assert line.startswith(f"{images / name}: {labels[best]} ")
        assert line.endswith("%")


def test_run_json(tiny, images, capsys):
    assert main(["run", str(tiny), str(images), "--top", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == [
        str(images / name) for name in ("a.png", "b.jpg", "c.npy")
    ]
    for line in lines:
        first, second = line["predictions"]
        assert 0 <= second["probability"] <= first["probability"] <= 1
        assert first["label"] in ("zero", "one", "two")


def test_run_top(tiny, images, capsys):
    assert main(["run", str(tiny), str(images / "c.npy"), "--top", "9"]) == 0
    assert capsys.readouterr().out.count("%") == 3


def test_bad_images_among_good_ones(tiny, images, capsys):
    (images / "aa.png").write_text("not a PNG")
    np.save(images / "bb.npy", np.zeros((9, 9), np.uint8))
    missing = str(images / "missing.png")
    assert main(["run", str(tiny), missing, str(images), str(images / "c.npy")]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    errors = captured.err.splitlines()
    assert errors == [
        f"tinsmith: error: {missing}: no such file",
        f"tinsmith: error: {images / 'aa.png'}: expected a PNG or JPEG",
        f"tinsmith: error: {images / 'bb.npy'}: expected shape (8, 8, 1), got (9, 9)",
    ]


def test_nothing_to_run(tiny, tmp_path, capsys, one_line):
    (tmp_path / "empty").mkdir()
    assert main(["run", str(tiny), str(tmp_path / "empty")]) == 2
    assert "empty: expected images (.png, .jpg, .jpeg, .npy), found none" in one_line(
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "0"], "--top: expected a number from 1, got 0"),
        (["--threads", "0"], "threads: expected 1 to 256, got 0"),
        (["--backend", "tflite"], "backend: expected auto, litert, onnx; got 'tflite'"),
    ],
)
def test_wrong_option(tiny, images, capsys, one_line, options, message: str):
    assert main(["run", str(tiny), str(images), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in one_line(captured.err)


@pytest.mark.parametrize("command", ["run", "inspect", "selftest"])
def test_bad_bundles(command: str, tmp_path, images, capsys, one_line, forge):
    more = [str(images)] if command == "run" else []
    assert main([command, str(tmp_path / "none.tin"), *more]) == 2
    assert "none.tin: no such bundle" in one_line(capsys.readouterr().err)
    (tmp_path / "text.tin").write_text("hello")
    for path in (tmp_path / "text.tin", images, forge({}, lambda t: t.update(format_version=2))):
        assert main([command, str(path), *more]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        one_line(captured.err)


def test_names_that_no_encoding_can_print(child, tiny, images):
    strange = os.fsencode(images) + b"/\xff.npy"
    os.rename(os.fsencode(images / "c.npy"), strange)  # noqa: PTH104 bytes are the point
    done = child("-m", "tinsmith_runtime", "run", tiny, images, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"/\udcff.npy: " in done.stdout


def test_name_that_is_too_long(tiny, capsys, one_line):
    assert main(["run", str(tiny), "x" * 300]) in (1, 2)
    one_line(capsys.readouterr().err)


def test_inspect(tiny, folder, capsys):
    assert main(["inspect", str(tiny)]) == 0
    text = capsys.readouterr().out
    for words in (
        "8 x 8 x 1 uint8 pixels, standing for 0 to 1",
        "3 classes (zero, one, two), softmax",
        "model.int8.onnx",
        "300 of 300 int8 outputs equal",
        "32 vectors",
    ):
        assert words in text
    assert main(["inspect", str(folder)]) == 0
    assert capsys.readouterr().out == text


def test_inspect_json(tiny, bundle, capsys):
    assert main(["inspect", str(tiny), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree == json.loads(json.dumps(asdict(bundle.manifest)))
    assert parse_manifest(bundle.files["manifest.json"]) == bundle.manifest


def test_selftest(tiny, capsys):
    assert main(["selftest", str(tiny)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["LiteRT", "ONNX"]
    assert all("32 of 32 golden vectors equal to the bit" in line for line in lines)
    assert main(["selftest", str(tiny), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["backend"] for result in results] == ["litert", "onnx"]


def test_selftest_fails(wrong_answers, capsys):
    for options in ([], ["--json"]):
        assert main(["selftest", str(wrong_answers), *options]) == 1
        captured = capsys.readouterr()
        assert captured.err == ""
        assert captured.out.count("golden vector 0, output 0: differs by") == 2
