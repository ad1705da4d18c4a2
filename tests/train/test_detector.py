"""The detector: what it learns, and `tinsmith train --model detector` as a person meets it."""

import json
from pathlib import Path

import numpy as np
import pytest
from narrow import some

from tinsmith_data import Dataset
from tinsmith_data.quiet import import_tensorflow
from tinsmith_data.scenes import make_scenes
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import UsageError
from tinsmith_train import Progress, train
from tinsmith_train.head import detector_head, find_boxes, mean_average_precision
from tinsmith_train.history import History

import_tensorflow()

import keras  # noqa: E402

from tinsmith_train.detection import (  # noqa: E402
    cell_accuracy,
    cell_middles,
    cell_targets,
    detection_loss,
)
from tinsmith_train.models import build_model  # noqa: E402

SURE = 12.0  # a logit


@pytest.fixture(scope="module")
def scenes(digits: Dataset) -> Dataset:
    parts = [
        make_scenes(digits.x_train[..., 0], digits.y_train, count, seed)
        for seed, count in enumerate((160, 24))
    ]
    return Dataset("few", *parts[0], *parts[1], digits.labels)


def rows_of(scenes: Dataset) -> np.ndarray:
    """What a perfect detector would give for the test images."""
    middles = cell_middles(96, 96, 8)
    return cell_targets(scenes.y_test, middles, 8, 10)


def test_what_it_is_to_learn_are_the_boxes(scenes: Dataset) -> None:
    """What the targets say is decoded by the runtime to the true boxes."""
    rows = rows_of(scenes)
    outputs = rows[..., :4], np.where(rows[..., 4:] > 0, SURE, -SURE).astype(np.float32)
    found = find_boxes(outputs, (96, 96, 1), scenes.labels)
    assert mean_average_precision(found, scenes.y_test) == (1, 1)
    for boxes, truth in zip(found, scenes.y_test, strict=True):
        there = truth[truth[:, 0] >= 0]
        ours, theirs = (
            np.array(sorted(map(tuple, one))) for one in (boxes[:, [0, 2, 3, 4, 5]], there)
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-3)  # float32 distances of up to 40 pixels


def test_a_cell_finds_the_nearest_box() -> None:
    boxes = np.array([[[0, 0, 0, 16, 16], [1, 10, 0, 26, 16], [-1] * 5]], np.float32)
    targets = cell_targets(boxes, cell_middles(32, 32, 8), 8, 2)[0].reshape(4, 4, 6)
    assert targets[0, 0].tolist() == [0.5, 0.5, 1.5, 1.5, 1, 0]
    assert targets[0, 2, 4:].tolist() == [0, 1]
    assert targets[0, 1, 4:].tolist() == [1, 0]
    assert not targets[3].any()


def test_the_loss_falls_to_nothing_where_all_is_right(scenes: Dataset) -> None:
    rows = rows_of(scenes)
    right = rows.copy()
    right[..., 4:] = np.where(rows[..., 4:] > 0, SURE, -SURE)
    wrong = right.copy()
    wrong[..., :4] += 1
    assert float(detection_loss(rows, right)) < 1e-5
    assert float(detection_loss(rows, wrong)) > 1
    assert float(cell_accuracy(rows, right)) == 1
    assert float(cell_accuracy(rows, -right)) == 0


def test_scenes_without_a_box_have_a_loss_too(scenes: Dataset) -> None:
    rows = np.zeros_like(rows_of(scenes))
    assert np.isfinite(float(detection_loss(rows, rows)))


@pytest.mark.parametrize("shape", [(96, 96, 1), (90, 61, 3)])
def test_its_cells_are_those_of_its_head(shape: tuple[int, int, int]) -> None:
    model = build_model("detector", shape, 4)
    distances, scores = model(np.zeros((1, *shape), np.float32))
    assert [output.name for output in model.outputs]
    cells = len(cell_middles(shape[0], shape[1], 8))
    assert distances.shape == (1, cells, 4)
    assert scores.shape == (1, cells, 4)
    find_boxes((np.asarray(distances), np.asarray(scores)), shape, "abcd")


@pytest.mark.slow
def test_the_run_folder(scenes: Dataset, tmp_path: Path) -> None:
    result = train("detector", scenes, tmp_path / "run", epochs=2, seed=3)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "boxes.json",
        "boxes.png",
        "curves.png",
        "history.json",
        "model.keras",
    ]
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert history["test_accuracy"] is None
    assert history["epochs"][1]["loss"] < history["epochs"][0]["loss"]
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    outputs = model.predict(scenes.x_test.astype(np.float32) / 255, verbose=0)
    found = find_boxes(outputs, (96, 96, 1), scenes.labels)
    assert mean_average_precision(found, scenes.y_test) == (result.test_map50, result.test_map)
    head = json.loads((tmp_path / "run" / "boxes.json").read_text())
    assert head["labels"] == list(detector_head(scenes.labels).labels)
    run = tmp_path / "run"
    assert main(["check", str(run / "model.keras"), "--boxes", str(run / "boxes.json")]) == 0


def test_labels_are_no_boxes(
    scenes: Dataset, digits: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="`few` has boxes, the model `cnn` learns labels: --model"):
        train("cnn", scenes, tmp_path)
    assert main(["train", "--model", "detector", "--data", "digits", "--out", str(tmp_path)]) == 2
    said = "tinsmith: error: the model `detector` learns boxes, dataset `digits` has labels"
    assert said in capfd.readouterr().err


def test_the_epoch_of_the_smallest_loss_is_kept() -> None:
    """Not of the highest accuracy: that is of a few cells, and of chance."""
    history = History(Progress(), by_loss=True)
    for loss, accuracy in ((0.5, 0.7), (0.3, 0.6), (0.4, 0.9)):
        history.end_epoch(1.0, 0.5, [], loss, accuracy)
    assert some(history.best)[0].number == 2
