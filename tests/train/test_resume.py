"""A run that is killed and resumed ends with the weights of one that is not, byte for byte."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinsmith_data import Dataset
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.errors import UsageError
from tinsmith_train import Progress, RunFolderError, TrainResult, load_network, train

import_tensorflow()

import keras  # noqa: E402


class Killed(BaseException):
    """Ends a run at once, as far as one process can do that to itself."""


class Killer(Progress):
    """Kills after so many batches."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def step(self, loss: float, accuracy: float) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    return replace(digits, x_train=digits.x_train[:240], y_train=digits.y_train[:240])


def weights(run: Path) -> list[bytes]:
    model = keras.models.load_model(run / "model.keras")
    return [array.tobytes() for array in model.get_weights()]


def test_kills_at_random_moments(few: Dataset, tmp_path: Path) -> None:
    def run(out: Path, kill_after: int | None = None) -> TrainResult:
        progress = Progress() if kill_after is None else Killer(kill_after)
        return train(
            "cnn", few, out, epochs=3, batch_size=20, resume=True, progress=progress, seed=5
        )

    rng, killed = random.Random(0), tmp_path / "killed"
    whole = run(tmp_path / "whole")
    for _ in range(2):
        with pytest.raises(Killed):
            run(killed, rng.randrange(11, 20))
    assert [path.name for path in killed.iterdir()] == ["checkpoint.npz"]
    resumed = run(killed)
    assert weights(killed) == weights(tmp_path / "whole")
    assert resumed.test_correct == whole.test_correct
    assert [e.loss for e in resumed.epochs] == [e.loss for e in whole.epochs]
    assert not (killed / "checkpoint.npz").exists()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of somebody else's: its first half normalises batches, and drops some."""
    path = tmp_path_factory.mktemp("network") / "theirs.keras"
    image = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(8, 3, strides=3, use_bias=False)(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.SpatialDropout2D(0.1)(x))
    keras.Model(image, keras.layers.Dense(7, activation="softmax")(x)).save(path)
    return path


def test_kills_in_both_phases_of_fine_tuning(few: Dataset, network: Path, tmp_path: Path) -> None:
    """Four epochs of 11 steps: two of the head alone, then two of all layers."""

    def run(out: Path, kill_after: int | None = None, resume: bool = True) -> TrainResult:
        progress = Progress() if kill_after is None else Killer(kill_after)
        init = load_network(network)
        return train(
            None, few, out, init=init, epochs=4, batch_size=20, resume=resume, progress=progress
        )

    whole = run(tmp_path / "whole")
    # Steps until the kill: in both phases, in the last step of the first, before the next one's.
    for steps in (16, 22, 33):
        killed = tmp_path / str(steps)
        with pytest.raises(Killed):
            run(killed, steps)
        resumed = run(killed)
        assert weights(killed) == weights(tmp_path / "whole"), steps
        assert [e.loss for e in resumed.epochs] == [e.loss for e in whole.epochs]
        assert resumed.test_correct == whole.test_correct


@pytest.mark.slow
def test_kills_from_outside_while_fine_tuning(
    digits: Dataset, network: Path, tmp_path: Path
) -> None:
    """After the head has learned alone; one network serves two runs."""
    options = ["--epochs", "40", "--init", str(network), "--batch-size", "256"]
    kill_when_it_has(21, tmp_path / "killed", options)
    init = load_network(network)
    for out in (tmp_path / "killed", tmp_path / "whole"):
        train(None, digits, out, init=init, epochs=40, batch_size=256, resume=True)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def kill_when_it_has(epochs: int, out: Path, options: list[str]) -> None:
    """Trains on `digits` in a process of its own, and kills that after so many epochs."""
    words = ["train", "--data", "digits", "--quiet", "--resume", "--out", str(out), *options]
    command = [sys.executable, "-m", "tinsmith_runtime", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while epochs_over(out / "checkpoint.npz") < epochs:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (out / "model.keras").exists()


def epochs_over(path: Path) -> int:
    if not path.exists():
        return 0
    with np.load(path) as arrays:
        return len(json.loads(arrays["about"].tobytes())["epochs"])


@pytest.mark.slow
def test_a_kill_from_outside(digits: Dataset, tmp_path: Path) -> None:
    kill_when_it_has(1, tmp_path / "killed", ["--model", "mlp", "--epochs", "12"])
    train("mlp", digits, tmp_path / "killed", epochs=12, resume=True)
    train("mlp", digits, tmp_path / "whole", epochs=12)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_early_stopping(few: Dataset, tmp_path: Path) -> None:
    rate = 1e-30  # nothing is learned: no epoch is better than the first
    result = train("mlp", few, tmp_path, epochs=50, learning_rate=rate, patience=3)
    assert (len(result.epochs), result.best.number) == (4, 1)


def test_a_checkpoint_of_something_else(few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train("softmax", few, tmp_path, epochs=3, progress=Killer(7))
    for wrong, said in (
        ({"seed": 1}, "of a run with seed 0, expected 1: give the same options"),
        ({"epochs": 4}, "of a run with epochs 3, expected 4"),
    ):
        with pytest.raises(UsageError, match=said):
            train("softmax", few, tmp_path, **{"epochs": 3, "resume": True, **wrong})  # type: ignore[arg-type]
    other = replace(few, x_train=255 - few.x_train)
    with pytest.raises(UsageError, match="of a run with data digits"):
        train("softmax", other, tmp_path, epochs=3, resume=True)
    path = tmp_path / "checkpoint.npz"
    with np.load(path) as arrays:
        kept = dict(arrays)
    for change in (
        {"model0": np.zeros((3, 3), np.float32)},
        {"about": np.frombuffer(b"{}", np.uint8)},
        {"about": np.array([print], object)},
    ):
        np.savez(path, **{**kept, **change})
        with pytest.raises(RunFolderError, match="the checkpoint is damaged"):
            train("softmax", few, tmp_path, epochs=3, resume=True)
    path.write_bytes(b"no archive")
    with pytest.raises(RunFolderError, match="the checkpoint is damaged"):
        train("softmax", few, tmp_path, epochs=3, resume=True)
    train("softmax", few, tmp_path, epochs=3)
    assert not path.exists()
