"""`tinsmith demo` with a stand-in for the commands it types, which have tests of their own."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinsmith_data import Dataset
from tinsmith_runtime.cli import main


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the stand-in notes its arguments; it fails at `$FAIL_AT`."""
    log = tmp_path / "typed"
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\nshift 2\necho "$@" >> {log}\nmkdir -p runs/demo\n'
        '[ "$1" != "$FAIL_AT" ] || exit 3\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.chdir(tmp_path)
    return log


def test_it_types_what_a_person_would(
    typed: Path, digits: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--data", "digits", "--epochs", "2", "--seed", "5", "--quiet"]) == 0
    commands = [
        "train --model cnn --data digits --epochs 2 --out runs/demo --seed 5 --quiet",
        "export runs/demo/model.keras --data digits --out runs/demo/digits.tin --seed 5 --quiet",
        "bench runs/demo/digits.tin --data digits --json runs/demo/report.json "
        "--markdown runs/demo/report.md --html runs/demo/report.html --quiet",
    ]
    assert typed.read_text().splitlines() == commands
    out = capfd.readouterr().out
    assert out.startswith("tinsmith demo on digits: 1,343 training and 454 test images\n")
    assert [line[2:] for line in out.splitlines() if line.startswith("$ ")] == [
        f"tinsmith {words}" for words in commands
    ]
    assert "  tinsmith run runs/demo/digits.tin runs/demo/digit.png\n" in out
    with Image.open("runs/demo/digit.png") as image:
        assert (np.asarray(image) == digits.x_test[0, :, :, 0]).all()


def test_the_settings_of_other_work_are_not_for_the_demo(typed: Path) -> None:
    text = '[demo]\ndata = "digits"\nquiet = true\n[board]\nhost = "pi"\n'
    Path("tinsmith.toml").write_text(text)
    assert main(["demo"]) == 0
    lines = typed.read_text().splitlines()
    assert len(lines) == 3
    assert all(line.endswith("--quiet --no-config") for line in lines)


def test_it_stops_where_a_step_fails(typed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL_AT", "export")
    assert main(["demo", "--data", "digits"]) == 3
    assert len(typed.read_text().splitlines()) == 2


def test_it_says_why_it_is_not_mnist(
    typed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINSMITH_DATA", str(typed.parent))
    monkeypatch.setenv("KERAS_HOME", str(typed.parent / "keras"))
    monkeypatch.setitem(sys.modules, "keras.datasets", None)
    assert main(["demo"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("tinsmith demo on digits: 1,343 training and 454 test images\n")
    assert err.startswith(f"tinsmith: no MNIST in {typed.parent / 'mnist'} or Keras's cache")
    assert err.count("\n") == 1
    assert len(err) - len(str(typed.parent)) < 200, "it fits a screen"
    assert "--data digits" in typed.read_text()


def test_it_takes_mnist_where_it_is(
    typed: Path, mnist: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = str(Path(os.environ["TINSMITH_DATA"], "mnist"))
    assert main(["demo", "--data", folder]) == 0
    assert capfd.readouterr().out.startswith("tinsmith demo on mnist: 60,000 training")
    assert f"--data {folder} " in typed.read_text()


def test_it_detects(
    typed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tinsmith_data.sources._TRAIN_SCENES", 20)
    monkeypatch.setattr("tinsmith_data.sources._TEST_SCENES", 10)
    assert main(["demo", "--task", "detect", "--data", "digit-scenes", "--out", "runs/demo"]) == 0
    commands = [
        "train --model detector --data digit-scenes --out runs/demo",
        "export runs/demo/model.keras --boxes runs/demo/boxes.json --data digit-scenes "
        "--out runs/demo/digits.tin",
        "bench runs/demo/digits.tin --data digit-scenes --json runs/demo/report.json "
        "--markdown runs/demo/report.md --html runs/demo/report.html",
    ]
    assert typed.read_text().splitlines() == commands
    out = capfd.readouterr().out
    assert out.startswith("tinsmith demo on digit-scenes: 20 training and 10 test images\n")
    run = "tinsmith run runs/demo/digits.tin runs/demo/scene.png --draw runs/demo/drawn\n"
    assert f"  {run}" in out
    with Image.open("runs/demo/scene.png") as image:
        assert image.size == (96, 96)
