"""The layers of a Keras file, trained from fresh weights, and images held back by class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinsmith_data import Dataset
from tinsmith_runtime import UsageError
from tinsmith_train import train
from tinsmith_train.holding import hold_back


@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=60),
    st.floats(0.01, 0.9),
    st.integers(0, 9),
    st.booleans(),
)
def test_images_are_held_back_or_kept(
    labels: list[int], part: float, seed: int, stratified: bool
) -> None:
    held, kept = hold_back(np.array(labels), part, seed, stratified)
    assert sorted([*held, *kept]) == list(range(len(labels)))
    if stratified:
        for name in set(labels):
            count = labels.count(name)
            wanted = max(1, round(part * count)) if count > 1 else 0
            assert sum(labels[index] == name for index in held) == wanted


def network(folder: Path, activation: str | None = "softmax", classes: int = 2) -> str:
    import keras

    image = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(image)
    path = folder / "own.keras"
    keras.Model(image, keras.layers.Dense(classes, activation=activation)(x)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def halves() -> Dataset:
    """Images whose left or right half is bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = rng.integers(0, 60, (64, 4, 4, 1), dtype=np.uint8)
    images[labels == 0, :, :2] += 150
    images[labels == 1, :, 2:] += 150
    return Dataset("halves", images, labels, images, labels, ("left", "right"))


@pytest.mark.slow
def test_fresh_weights_are_trained(halves: Dataset, tmp_path: Path) -> None:
    import keras

    path = network(tmp_path)
    words: dict[str, Any] = {"epochs": 8, "batch_size": 8, "learning_rate": 0.1, "augment": "none"}
    words |= {"held_back": 0.25, "draw": False}
    first, _ = (train(path, halves, tmp_path / name, **words) for name in "ab")
    assert first.model == "own"
    assert first.test_accuracy == 1
    assert not (tmp_path / "a/curves.png").exists()
    models = [keras.models.load_model(tmp_path / name / "model.keras") for name in "ab"]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "classes", "said"),
    [(None, 2, "a softmax in the last layer"), ("softmax", 3, "expected 2 outputs")],
)
def test_layers_that_do_not_fit(
    halves: Dataset, tmp_path: Path, activation: str | None, classes: int, said: str
) -> None:
    path = network(tmp_path, activation, classes)
    with pytest.raises(UsageError, match=said):
        train(path, halves, tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_a_part_of_each_class_needs_classes(halves: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="held_back: the model `softmax` holds no part"):
        train("softmax", halves, tmp_path, held_back=0.1)
    with pytest.raises(UsageError, match=r"held_back: expected a number from 0 to 0\.9"):
        train("cnn", halves, tmp_path, held_back=2.0)
