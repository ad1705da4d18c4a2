"""`tinsmith train` as a person meets it: files, words, Ctrl-C, mistakes."""

import json
import random
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupting import lost_interrupt
from narrow import some

from tinsmith_data import Dataset
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_train import Epoch, Progress, RunFolderError, TrainResult, train

import_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.framework.config import is_op_determinism_enabled  # noqa: E402

RUN_FILES = ["confusion.png", "curves.png", "digits.png", "history.json", "model.keras"]
COMMAND_FILES = [*RUN_FILES, "tinsmith.toml"]  # the settings are what was typed


def tinsmith(*words: str) -> list[str]:
    return [sys.executable, "-m", "tinsmith_runtime", *words]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_run_folder(cnn_run: Path, digits: Dataset) -> None:
    assert names(cnn_run) == COMMAND_FILES
    for name in RUN_FILES[:3]:
        assert (cnn_run / name).read_bytes().startswith(b"\x89PNG")
    history = json.loads((cnn_run / "history.json").read_text())
    assert history["dataset"]["sha256"] == digits.sha256
    assert history["seed"] == 7
    assert [epoch["number"] for epoch in history["epochs"]] == [1, 2, 3, 4, 5, 6]
    scores = [(epoch["val_accuracy"], -epoch["val_loss"]) for epoch in history["epochs"]]
    assert history["best_epoch"] == scores.index(max(scores)) + 1
    model = keras.models.load_model(cnn_run / "model.keras")
    said = model.predict(digits.x_test.astype("float32") / 255, verbose=0).argmax(axis=1)
    assert history["test_correct"] == (said == digits.y_test).sum()
    assert history["parameters"] == model.count_params() <= 40_000


def test_the_same_seed_gives_the_same_weights_in_another_process(
    cnn_run: Path, tmp_path: Path
) -> None:
    words = ["train", "--data", "digits", "--epochs", "6", "--seed", "7"]
    done = subprocess.run(
        tinsmith(*words, "--out", str(tmp_path)), capture_output=True, text=True, check=True
    )
    first, second = (
        keras.models.load_model(folder / "model.keras").get_weights()
        for folder in (cnn_run, tmp_path)
    )
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]
    # Standard error is no terminal here: plain lines, nothing of TensorFlow's among them.
    lines = done.stderr.splitlines()
    assert lines[0] == "training cnn on digits; Ctrl-C keeps the best epoch"
    assert [line.split()[0] for line in lines[1:]] == ["1,231"] + ["epoch"] * 6
    assert "\x1b" not in done.stderr
    assert done.stdout.splitlines()[-1] == f"written   {tmp_path / 'model.keras'}"


@pytest.mark.parametrize("model", ["mlp", "lenet", "softmax"])
def test_every_model_trains(model: str, digits: Dataset, tmp_path: Path) -> None:
    few = replace(digits, name="few", x_train=digits.x_train[:150], y_train=digits.y_train[:150])
    result = train(model, few, tmp_path / "run", epochs=3, learning_rate=0.002)
    assert isinstance(result, TrainResult)
    assert len(result.epochs) == 3
    assert some(result.test_accuracy) > 0.3, "guessing gives 0.1"
    assert names(tmp_path / "run") == RUN_FILES


def test_colour_images_that_are_not_square(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 36, 32, 3), np.uint8), np.arange(40) % 3
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y, labels=list("abc"))
    words = ["train", "--data", str(tmp_path / "own.npz"), "--epochs", "1", "--json"]
    out = tmp_path / "run"
    assert main([*words, "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    printed = json.loads(said.out)
    assert printed == json.loads((out / "history.json").read_text())
    assert printed["dataset"]["labels"] == ["a", "b", "c"]
    settings = tomllib.loads((out / "tinsmith.toml").read_text())["train"]
    assert settings == {
        "model": "cnn",
        "data": str(tmp_path / "own.npz"),
        "epochs": 1,
        "seed": 0,
        "out": str(out),
        "json": True,
        "quiet": True,
    }


def test_the_settings_of_a_run_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--model", "softmax", "--data", "digits", "--epochs", "1"]) == 0
    Path("runs/softmax/tinsmith.toml").rename("again.toml")
    assert main(["train", "--config", "again.toml", "--out", "again"]) == 0
    assert "again.toml sets model, data, epochs, seed\n" in capsys.readouterr().err
    weights = [
        keras.models.load_model(path).get_weights()
        for path in ("runs/softmax/model.keras", "again/model.keras")
    ]
    for one, other in zip(*weights, strict=True):
        assert one.tobytes() == other.tobytes()


def test_files_of_an_earlier_run_are_replaced_and_others_kept(
    digits: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "model.keras").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    train("softmax", digits, tmp_path, epochs=1)
    assert names(tmp_path) == sorted([*RUN_FILES, "notes.txt"])
    assert keras.models.load_model(tmp_path / "model.keras").name == "softmax"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "vgg"], "unknown model `vgg`: expected cnn, mobilenet, mobilenetv2, resnet, "),
        (
            ["--model", "cnn", "--width", "1"],
            "width: the model `cnn` has none to choose: it is for",
        ),
        (["--width", "0"], "width: expected a number from 0.05 to 4, got 0.0"),
        (["--model", "dscnn", "--depth", "8"], "depth: the model `dscnn` has none to choose"),
        (["--depth", "9"], "depth: expected 8 or 14 or 20, got 9"),
        (["--size", "7"], "size: expected a whole number from 8 to 1024, got 7"),
        (["--patience", "0"], "patience: expected a whole number from 1"),
        (["--warm-up", "1.5"], "warm_up: expected a number from 0 to 1, got 1.5"),
        (["--augment", "all"], "augment: expected auto or none or shifts or photos, got 'all'"),
        (["--model", "softmax", "--augment", "shifts"], "augment: `softmax` has a training loop"),
        (["--model", "cnn", "--init", "a.keras"], "--init says the network and its images: leave"),
        (["--init", "none.keras"], "none.keras: no such model"),
        (["--init", "none.keras", "--width", "1"], "width: the model `none` has none to choose"),
        (["--input-range", "0", "255"], "--input-range is for --init: the models of train take"),
        (["--epochs", "0"], "epochs: expected a whole number from 1 to 2147483647, got 0"),
        (["--epochs", "-3"], "epochs: expected a whole number from 1 to 2147483647, got -3"),
        (["--epochs", str(2**31)], "epochs: expected a whole number from 1 to 2147483647, got 214"),
        (["--batch-size", "0"], "batch_size: expected a whole number from 1"),
        (["--batch-size", "9" * 30], "batch_size: expected a whole number from 1"),
        (["--learning-rate", "0"], "learning_rate: expected a number from 1e-30 to 1e+30, got 0.0"),
        (["--learning-rate", "-1"], "learning_rate: expected a number from 1e-30"),
        (["--learning-rate", "nan"], "learning_rate: expected a number from 1e-30"),
        (["--learning-rate", "inf"], "learning_rate: expected a number from 1e-30"),
        (["--seed", "-1"], "seed: expected a whole number from 0 to 4294967295, got -1"),
        (["--seed", str(2**32)], "seed: expected a whole number from 0 to 4294967295, got 4"),
    ],
)
def test_bad_options_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run"), "--quiet"]
    # What is said of a number is said before the data is looked for.
    assert main(["train", "--data", "none.npz", *out, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong", [{"epochs": 1.0}, {"epochs": True}, {"batch_size": "8"}, {"seed": None}]
)
def test_a_program_that_gives_no_number(
    wrong: dict[str, Any], digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}: expected a whole number"):
        train("softmax", digits, tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_comes_to_nothing_is_no_model(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TinsmithError, match=r"loss is nan.*--learning-rate below 1e"):
        train("mlp", digits, tmp_path / "run", epochs=2, learning_rate=1e30)
    assert not (tmp_path / "run").exists()


def test_a_program_that_trains_keeps_its_seeds_and_settings(
    digits: Dataset, tmp_path: Path
) -> None:
    def drawn(between: Callable[[], object]) -> list[float]:
        random.seed(3)
        np.random.seed(3)
        tf.random.set_seed(3)
        before = [random.random(), np.random.rand(), float(tf.random.uniform([]))]
        between()
        return [*before, random.random(), np.random.rand(), float(tf.random.uniform([]))]

    def work() -> None:
        train("softmax", digits, tmp_path, epochs=1, seed=9)

    tf.config.run_functions_eagerly(True)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert drawn(work) == drawn(lambda: None)
        assert tf.config.functions_run_eagerly()
        assert keras.mixed_precision.global_policy().name == "mixed_float16"
    finally:
        tf.config.run_functions_eagerly(False)
        keras.mixed_precision.set_global_policy("float32")
    assert not is_op_determinism_enabled()
    model = keras.models.load_model(tmp_path / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_a_file_in_the_way_is_found_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert main(["train", "--data", "digits", "--out", str(out)]) == 2
        assert f"{tmp_path / 'file'} is a file, not a folder" in capsys.readouterr().err


def test_a_folder_in_a_files_way(
    tmp_path: Path, digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.keras" / "x").mkdir(parents=True)
    assert main(["train", "--data", "none.npz", "--quiet", "--out", str(tmp_path)]) == 2
    assert "model.keras: cannot be written: expected a file" in capsys.readouterr().err

    class Meddler(Progress):
        def stop(self) -> None:
            (tmp_path / "run" / "digits.png" / "x").mkdir(parents=True, exist_ok=True)

    with pytest.raises(RunFolderError, match="cannot write to"):
        train("softmax", digits, tmp_path / "run", epochs=1, progress=Meddler())
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("out", ["/dev/null", "/dev/null/run", "/sys/run", "r" * 300])
def test_a_place_that_cannot_be_written_is_found_before_training(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", "none.npz", "--out", out]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert out in said.err


def interrupted(out: Path, model: str, at: str) -> tuple[int, str, str]:
    """Trains until a line that holds `at`, then does what Ctrl-C does."""
    words = ["train", "--model", model, "--data", "digits", "--epochs", "100000"]
    with subprocess.Popen(
        tinsmith(*words, "--out", str(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        before = ""
        while at not in before:
            line = process.stderr.readline()
            assert line, before
            before += line
        process.send_signal(signal.SIGINT)
        stdout, after = process.communicate(timeout=60)
    return process.returncode, stdout, after


def test_ctrl_c_keeps_the_best_epoch_so_far(tmp_path: Path) -> None:
    status, stdout, stderr = interrupted(tmp_path / "run", "mlp", "epoch      3/100000")
    assert status == 0
    assert "Traceback" not in stderr
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    done = len(history["epochs"])
    assert done >= 3
    assert history["stopped"] is True
    best = history["best_epoch"]
    assert f"stopped after {done} epochs: kept the best, epoch {best}" in stderr
    assert f"kept      epoch {best} of {done}" in stdout
    assert names(tmp_path / "run") == sorted([*COMMAND_FILES, "checkpoint.npz"]), (
        "it can be resumed"
    )


@pytest.mark.parametrize("model", ["mlp", "softmax"])
def test_ctrl_c_is_not_lost_amid_a_batch(model: str, digits: Dataset, tmp_path: Path) -> None:
    class Impatient(Progress):
        def epoch(self, epoch: Epoch, is_best: bool) -> None:
            lost_interrupt()

    found = train(model, digits, tmp_path, epochs=50, progress=Impatient(), draw=False)
    assert (found.stopped, len(found.epochs)) == (True, 1)


def test_ctrl_c_before_there_is_anything_to_keep(tmp_path: Path) -> None:
    status, stdout, stderr = interrupted(tmp_path / "run", "cnn", "held back")
    assert status == 130
    assert stdout == ""
    assert stderr == (
        "tinsmith: error: stopped before the first epoch was over: nothing is written\n"
    )
    assert not (tmp_path / "run").exists()
