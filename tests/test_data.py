"""`--data`: each kind of data with each sub-command, and the older options beside it."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinsmith_runtime import read_bundle
from tinsmith_runtime.cli import main

CLASSES = ("cat", "dog", "owl")
MODULE = """
import numpy as np

def _read():
    with np.load("whole.npz") as arrays:
        return arrays["x"], arrays["y"]

def pairs():
    x, y = _read()
    return (x[::2], y[::2]), (x[1::2], y[1::2])

def batches():
    x, y = _read()
    return ((x[i:i + 30], np.eye(3, dtype="f4")[y[i:i + 30]]) for i in range(0, 90, 30))
"""
LABELLED = ("photos", "split.npz", "whole.npz", "kinds:pairs", "kinds:batches")
TRAIN = ["train", "--model", "softmax", "--epochs", "1", "--quiet", "--json"]
EXPORT = [
    "export",
    "run/model.keras",
    "--recipe",
    "ptq",
    "--max-drop-pp",
    "100",
    "--max-changed-pp",
    "100",
    "--quiet",
]
BENCH = ["bench", "run/model.tin", "--quick", "--rounds", "2", "--quiet", "--json", "-"]


def make_data(folder: Path) -> None:
    """The same 90 images of 8 by 8 in every form; a class is a bright third."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60, (90, 8, 8), np.uint8)
    y = np.arange(90) % 3
    for image, label in zip(x, y, strict=True):
        image[3 * label : 3 * label + 2] += 180
    x = x[..., np.newaxis]
    np.savez(folder / "whole.npz", x=x, y=y, labels=CLASSES)
    first, rest = slice(60), slice(60, None)
    np.savez(
        folder / "split.npz",
        x_train=x[first],
        y_train=y[first],
        x_test=x[rest],
        y_test=y[rest],
        labels=CLASSES,
    )
    np.save(folder / "inputs.npy", x)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        path = folder / "photos" / CLASSES[label] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    (folder / "kinds.py").write_text(MODULE)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all kinds of data, a model and its bundle."""
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*TRAIN, "--data", "photos", "--out", "run"]) == 0
        assert main([*EXPORT, "--data", "photos"]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run in the folder of the data."""
    monkeypatch.chdir(request.getfixturevalue("made"))
    monkeypatch.delitem(sys.modules, "kinds", raising=False)


def refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with, having refused to start."""
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert len(err) < 200
    return err


@pytest.mark.parametrize("data", LABELLED)
def test_train(data: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--data", data, "--out", str(tmp_path)]) == 0
    dataset = json.loads(capfd.readouterr().out)["dataset"]
    test_images = {"split.npz": 30, "kinds:pairs": 45}.get(data, 18)
    assert (dataset["train_images"], dataset["test_images"]) == (90 - test_images, test_images)
    assert dataset["labels"] == (["0", "1", "2"] if ":" in data else list(CLASSES))
    assert dataset["name"] == data.removesuffix(".npz")


@pytest.mark.parametrize("data", [*LABELLED, "inputs.npy"])
def test_export(data: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.tin"
    assert main([*EXPORT, "--data", data, "--out", str(out), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)["quality"]["stages"][0]
    assert (told["accuracy"] is None) == (data == "inputs.npy")
    assert told["count"] == {"split.npz": 30, "kinds:pairs": 45}.get(data, 18)
    named = not (":" in data or data == "inputs.npy")
    assert read_bundle(out).manifest.output.labels == (CLASSES if named else ("0", "1", "2"))


def test_train_and_export_test_on_the_same_images() -> None:
    trained = json.loads(Path("run/history.json").read_text())
    exported = read_bundle(Path("run/model.tin")).manifest.quality.stages[0]
    assert exported.count == trained["dataset"]["test_images"] == 18
    assert exported.accuracy == pytest.approx(trained["test_accuracy"])


@pytest.mark.parametrize("data", ["photos", "whole.npz", "kinds:pairs", "inputs.npy"])
def test_bench(data: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*BENCH, "--data", data]) == 0
    dataset = json.loads(capfd.readouterr().out)["dataset"]
    # Of a folder that the bundle was made with, bench takes the part for testing, like evaluation.
    assert dataset["samples"] == {"photos": 18, "kinds:pairs": 45}.get(data, 90)
    assert (dataset["targets"] == "labels") == (data != "inputs.npy")
    assert dataset["name"] == data


@pytest.mark.parametrize("data", LABELLED)
def test_demo(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in for the commands, which the other tests type."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift 2\necho "$@" >> {shlex.quote(str(tmp_path / "typed"))}\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    (tmp_path / "out").mkdir()
    assert main(["demo", "--data", data, "--out", str(tmp_path / "out")]) == 0
    assert capfd.readouterr().out.startswith(f"tinsmith demo on {data.removesuffix('.npz')}: ")
    typed = (tmp_path / "typed").read_text().splitlines()
    assert [line.split()[0] for line in typed] == ["train", "export", "bench"]
    assert all(f" --data {data} " in f"{line} " for line in typed)


@pytest.mark.parametrize("command", [["train"], ["demo"], EXPORT, BENCH])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("mnits", "--data mnits: expected mnist, digits, scenes, digit-scenes, a FOLDER, FILE.npz"),
        ("none.npz", "no file none.npz"),
        ("none.npy", "no file none.npy"),
        ("empty", "empty: expected images in it"),
        ("kinds:none", "has no attribute 'none'"),
        ("text.npz", "text.npz: expected an .npz file of plain arrays"),
    ],
)
def test_what_is_no_data(
    command: list[str], data: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir(exist_ok=True)
    Path("text.npz").write_text("text")
    out = ["--out", "nowhere.tin"] if command is EXPORT else []
    assert said in refused([*command, *out, "--data", data], capfd)
    assert not Path("nowhere.tin").exists()


@pytest.mark.parametrize("command", ["train", "demo"])
def test_training_needs_labels(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert "expected images with labels" in refused([command, "--data", "inputs.npy"], capfd)
    assert "expected images with labels" in refused([command, "--data", "photos/cat"], capfd)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["train", "--dataset", "none.npz"], "tinsmith: --dataset: write --data none.npz"),
        (["demo", "--dataset", "none.npz"], "tinsmith: --dataset: write --data none.npz"),
        ([*BENCH, "--dataset", "none.npz"], "tinsmith: --dataset: write --data none.npz"),
        ([*EXPORT, "--dataset", "none.npz"], "tinsmith: --dataset: write --data none.npz"),
        (
            [*EXPORT, "--calibration", "none.npz"],
            "tinsmith: --calibration: write --data none.npz; it learns from training labels too",
        ),
        (["train", "--data-dir", "a b"], "tinsmith: --data-dir: write --data 'a b'"),
        (["train", "--data-dir", "mnist"], "tinsmith: --data-dir: write --data ./mnist"),
        ([*BENCH, "--dataset", "mnist", "--data-dir", "a"], "tinsmith: --data-dir: write --data a"),
    ],
)
def test_older_options_say_what_to_write(
    words: list[str], hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    lines = capfd.readouterr().err.splitlines()
    assert lines[-2] == hint
    assert lines[-1].startswith("tinsmith: error: no f")


def test_older_options_go_on_working(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*EXPORT, "--calibration", "photos", "--out", str(tmp_path / "a.tin")]) == 0
    quality = read_bundle(tmp_path / "a.tin").manifest.quality
    assert quality.stages[0].accuracy is None, "folders are no classes"
    capfd.readouterr()
    assert main([*BENCH, "--dataset", "split.npz"]) == 0
    assert json.loads(capfd.readouterr().out)["dataset"]["name"] == "split"


@pytest.mark.parametrize("command", [["train"], ["demo"], EXPORT, BENCH])
def test_one_of_them_is_enough(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--data", "photos", "--dataset", "digits"])
    assert "not allowed with argument --data" in capfd.readouterr().err
