"""The loop of softmax regression against numpy, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tinsmith_data import Dataset
from tinsmith_data.quiet import import_tensorflow
from tinsmith_train import Epoch, Progress
from tinsmith_train.checkpoint import Checkpoint
from tinsmith_train.history import History
from tinsmith_train.recipe import RECIPES

import_tensorflow()

from tinsmith_train.models import build_model  # noqa: E402
from tinsmith_train.softmax import cross_entropy, fit_softmax, make_step  # noqa: E402


def test_loss_is_summed_and_finite() -> None:
    targets = np.eye(3, dtype=np.float32)
    probabilities = np.array([[0.5, 0.5, 0], [0.25, 0.25, 0.5], [1, 0, 0]], np.float32)
    expected = -np.log(0.5) - np.log(0.25) - np.log(1e-10)
    # float32 logarithms
    np.testing.assert_allclose(cross_entropy(targets, probabilities), expected, rtol=1e-6)


def test_two_steps_are_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    images = rng.random((50, 4, 3, 1), dtype=np.float32)
    labels = rng.integers(0, 5, 50)
    model = build_model("softmax", (4, 3, 1), 5)
    step = make_step(model, learning_rate=0.01)
    x, y = images.reshape(50, 12).astype(np.float64), np.eye(5)[labels]
    weight, bias = np.zeros((12, 5)), np.zeros(5)
    for _ in range(2):
        loss, right = step(images, y.astype(np.float32))
        logits = x @ weight + bias
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        # float32 against float64, sums of 50
        np.testing.assert_allclose(loss, -(y * np.log(p + 1e-10)).sum(), rtol=1e-5)
        assert int(right) == (p.argmax(axis=1) == labels).sum()
        weight -= 0.01 * x.T @ (p - y)
        bias -= 0.01 * (p - y).sum(axis=0)
    kernel, offset = model.get_weights()
    np.testing.assert_allclose(kernel, weight, atol=1e-6)
    np.testing.assert_allclose(offset, bias, atol=1e-6)


class Listener(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps = 0
        self.epochs: list[Epoch] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def step(self, loss: float, accuracy: float) -> None:
        self.steps += 1

    def epoch(self, epoch: Epoch, is_best: bool) -> None:
        self.epochs.append(epoch)


def test_the_loop_reports_as_the_notebook_does(digits: Dataset, tmp_path: Path) -> None:
    recipe = RECIPES["softmax"]
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (10, 50, 0.25)
    model = build_model("softmax", (28, 28, 1), 10)
    listener = Listener()
    recipe = replace(recipe, epochs=2, batch_size=2)
    checkpoint = Checkpoint(tmp_path, {})
    fit_softmax(model, digits, recipe, 0, History(listener), checkpoint, None)
    assert listener.steps == 2 * 672, "1,343 images in twos, none left out"
    assert [line.split(":")[0] for line in listener.lines] == ["batch 500", "batch 500"]
    last = listener.epochs[-1]
    probabilities = model.predict(digits.x_train.astype(np.float32) / 255, verbose=0)
    assert last.accuracy == (probabilities.argmax(axis=1) == digits.y_train).mean()
    of_truth = np.take_along_axis(probabilities, digits.y_train[:, np.newaxis], axis=1)
    # float32 sums over 1,343 images
    np.testing.assert_allclose(last.loss, -np.log(of_truth + 1e-10).mean(), rtol=1e-5)
