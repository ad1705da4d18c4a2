"""Whole exports of a tiny model: through files and objects, with warnings, killed on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from tinsmith_export import Options, Progress, compile_model, export
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.trace import trace
from tinsmith_export.inputs.checks import input_warnings
from tinsmith_runtime import read_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import UsageError

SHAPE = (8, 8, 3)
RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (60, *SHAPE), np.uint8)
ANYTHING = Options(recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0)


def classifier(library: Any, *first: Any) -> Any:
    """Tells the brightest of three colours."""
    library.utils.set_random_seed(1)
    layers = library.layers
    return library.Sequential(
        [
            library.Input(SHAPE, name="image"),
            *first,
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="answer"),
        ],
        name="colours",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`colours.keras`, and `pixels.npz` with labels."""
    folder = tmp_path_factory.mktemp("colours")
    classifier(keras).save(folder / "colours.keras")
    np.savez(folder / "pixels.npz", x=PIXELS, y=PIXELS.mean((1, 2)).argmax(1))
    return folder


def test_an_object_and_its_file_give_the_same_bundle(folder: Path, tmp_path: Path) -> None:
    source = str(folder / "pixels.npz")
    first = compile_model(classifier(keras), source, tmp_path / "a.tin", ANYTHING)
    export(folder / "colours.keras", source, tmp_path / "b.tin", ANYTHING)
    assert (tmp_path / "a.tin").read_bytes() == (tmp_path / "b.tin").read_bytes()
    manifest = read_bundle(tmp_path / "a.tin").manifest
    assert manifest == first.manifest
    assert manifest.quality.parity[0].evaluation.max_difference_lsb <= 1
    assert manifest.quality.stages[0].count == 12
    assert 100 < first.peak_memory_mb < 16_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, as it saves a folder
def test_the_command_compiles_a_saved_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier(keras).export(tmp_path / "colours", verbose=False)
    np.save(tmp_path / "pixels.npy", PIXELS)
    words = ["--data", str(tmp_path / "pixels.npy"), "--recipe", "ptq", "--json"]
    assert (
        main(
            [
                "export",
                str(tmp_path / "colours"),
                *words,
                "--max-drop-pp",
                "100",
                "--max-changed-pp",
                "100",
            ]
        )
        == 0
    )
    said, told = capfd.readouterr()
    report = json.loads(said)
    assert report["bundle"] == str(tmp_path / "colours.tin")
    assert report["peak_memory_mb"] > 100
    assert [text for text in report["warnings"] if "is not installed" not in text] == []
    assert [layer["name"] for layer in report["layers"]] == ["conv_1", "answer_1"]
    assert told.startswith("reading colours\n")
    assert main(["selftest", str(tmp_path / "colours.tin")]) == 0


def warned(model: Any, reals: Any, labels: Any = None) -> list[str]:
    reals = np.asarray(reals, np.float32)
    expected = model.predict(reals, verbose=0)
    return list(input_warnings(model, read_graph(trace(model)), reals, expected, labels))


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_pixels_that_are_scaled_twice(library: Any) -> None:
    model = classifier(library, library.layers.Rescaling(1 / 255))
    (said,) = warned(model, PIXELS / 255)
    assert "begins with a scaling by 0.00392, but its inputs are already 0 to 1" in said
    assert "--input-range 0 255" in said
    assert warned(model, PIXELS) == []
    assert warned(classifier(library), PIXELS / 255) == []


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_values_that_the_model_never_saw(library: Any) -> None:
    model = classifier(library)
    probe = library.Model(model.inputs, model.get_layer("conv").output)
    seen = probe.predict(PIXELS / np.float32(255), verbose=0)
    gamma, beta, *_ = model.get_layer("norm").get_weights()
    model.get_layer("norm").set_weights([gamma, beta, seen.mean((0, 1, 2)), seen.var((0, 1, 2))])
    assert warned(model, PIXELS / 255) == []
    assert warned(model, PIXELS / 127.5 - 1) == []  # another scaling of the kind: not certain
    (said,) = warned(model, PIXELS)
    assert "layer `norm` was trained on values whose variance is" in said
    assert "check --input-range" in said


def test_answers_no_better_than_guessing() -> None:
    model = classifier(keras)
    answers = model.predict(PIXELS.astype(np.float32), verbose=0).argmax(1)
    assert warned(model, PIXELS, answers) == []
    (said,) = warned(model, PIXELS, (answers + 1) % 3)
    assert "the float model itself is right on 0.00% of the inputs, no better than" in said


def test_a_warning_is_told(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    classifier(keras, keras.layers.Rescaling(1 / 255)).save(tmp_path / "colours.keras")
    words = [
        "export",
        str(tmp_path / "colours.keras"),
        "--recipe",
        "ptq",
        "--max-drop-pp",
        "100",
        "--max-changed-pp",
        "100",
    ]
    assert main([*words, "--data", str(folder / "pixels.npz")]) == 0
    said, told = capfd.readouterr()
    assert "\nwarning: the model begins with a scaling" in told
    assert "\nwarning  the model begins with a scaling" in said
    assert "\nmemory   " in said


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (PIXELS[:, :4], "the model takes inputs of shape (8, 8, 3), a.npz has (4, 8, 3)"),
        (np.where(PIXELS > 9, np.nan, 0.5), "expected finite inputs, got NaN or infinity"),
        (np.full((20, *SHAPE), 7, np.uint8), "every value is 7"),
    ],
)
def test_inputs_that_do_not_fit(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], inputs: Any, said: str
) -> None:
    np.save(tmp_path / "a.npy", inputs)
    words = ["--data", str(tmp_path / "a.npy"), "--quiet", "--out", str(tmp_path / "a.tin")]
    assert main(["export", str(folder / "colours.keras"), *words]) == 2
    out, err = capfd.readouterr()
    assert said.replace("a.npz", "a") in err
    assert (out, err.count("\n")) == ("", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_labels_that_the_model_has_no_outputs_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=PIXELS, y=np.arange(60) % 5)
    with pytest.raises(UsageError, match=r"gives outputs \(3,\), a has . classes"):
        compile_model(classifier(keras), str(tmp_path / "a.npz"), tmp_path / "a.tin", ANYTHING)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "none.npz"], "no file none.npz"),
        (["--custom-objects", "nowhere:Layer"], "`nowhere:Layer`: expected module:NAME: No module"),
        (["--data", "digits", "--input-shape", "9", "9", "3"], "--input-shape: the model takes"),
        (["--data", "digits", "--output", "second"], "--output second: the model's outputs are"),
    ],
)
def test_wrong_words(
    folder: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["export", str(folder / "colours.keras"), "--quiet", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err


def test_one_source_of_inputs(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "digits", "--calibration", "digits"]
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(folder / "colours.keras"), *words])
    assert "argument --calibration: not allowed with argument --data" in capfd.readouterr().err


def test_a_killed_export_leaves_nothing_in_the_way(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    words = [
        *("export", str(folder / "colours.keras"), "--out", str(tmp_path / "out" / "colours.tin")),
        *(
            "--data",
            str(folder / "pixels.npz"),
            "--max-drop-pp",
            "100",
            "--max-changed-pp",
            "100",
            "--qat-steps",
        ),
    ]
    command = [sys.executable, "-m", "tinsmith_runtime", *words, "100000"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    with child, child.stderr as told:
        assert any(line.startswith("quantizing") for line in told)
        child.kill()
    assert child.returncode == -9
    assert list((tmp_path / "out").iterdir()) == []
    assert main([*words, "1"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["colours.tin"]


def test_an_interrupted_export_keeps_the_older_bundle(folder: Path, tmp_path: Path) -> None:
    class Interrupter(Progress):
        def stage(self, text: str) -> None:
            if text.startswith("verifying"):
                raise KeyboardInterrupt

    (tmp_path / "old.tin").write_bytes(b"an older bundle")
    with pytest.raises(KeyboardInterrupt):
        compile_model(
            classifier(keras), str(folder / "pixels.npz"), tmp_path / "old.tin", ANYTHING,
            Interrupter(),
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["old.tin"]
    assert (tmp_path / "old.tin").read_bytes() == b"an older bundle"
