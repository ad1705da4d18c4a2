"""Scenes of digits, and data with boxes."""

from pathlib import Path

import numpy as np
import pytest

from tinsmith_data import Dataset, DatasetError, load_dataset
from tinsmith_data.boxes import checked_boxes
from tinsmith_data.scenes import MAX_BOXES, make_scenes

ONE = [[0, 1, 2, 8, 9], [-1] * 5]


def test_a_box_is_tight_around_a_digit(digits: Dataset) -> None:
    scenes, boxes = make_scenes(digits.x_test[..., 0], digits.y_test, 60, 0)
    assert scenes.shape == (60, 96, 96, 1)
    assert scenes.dtype == np.uint8
    there = boxes[..., 0] >= 0
    assert set(there.sum(axis=1)) <= set(range(1, MAX_BOXES + 1))
    assert (boxes[there][:, 1:] == np.floor(boxes[there][:, 1:])).all()
    assert boxes[there][:, 1:].min() >= 0
    assert boxes[there][:, 1:].max() <= 96
    for scene, rows in zip(scenes[..., 0], boxes.astype(int), strict=True):
        for _, left, top, right, bottom in rows[rows[:, 0] >= 0]:
            inside = scene[top:bottom, left:right] > 28  # ink of 48 or more, 150 of 255 as bright
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
    assert set(np.unique(boxes[there][:, 0])) == set(range(10))


def test_digits_do_not_cover_each_other(digits: Dataset) -> None:
    _, boxes = make_scenes(digits.x_test[..., 0], digits.y_test, 60, 1)
    for rows in boxes:
        corners = rows[rows[:, 0] >= 0, 1:]
        low = np.maximum(corners[:, np.newaxis, :2], corners[:, :2])
        high = np.minimum(corners[:, np.newaxis, 2:], corners[:, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        assert (shared[~np.eye(len(corners), dtype=bool)] == 0).all()


def test_a_seed_makes_the_same_scenes(digits: Dataset) -> None:
    first, again, other = (
        make_scenes(digits.x_test[..., 0], digits.y_test, 4, seed) for seed in (3, 3, 4)
    )
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_an_npz_may_have_boxes(tmp_path: Path) -> None:
    x, y = np.zeros((20, 16, 16), np.uint8), np.tile(np.array(ONE), (20, 1, 1))
    np.savez(tmp_path / "some.npz", x_train=x, y_train=y, x_test=x, y_test=y, labels=["cup"])
    data = load_dataset(str(tmp_path / "some.npz"))
    assert data.has_boxes
    assert data.labels == ("cup",)
    assert data.y_test.dtype == np.float32
    assert (data.y_test == y).all()


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (np.zeros((2, 1, 4)), r"expected boxes \(2, M, 5\): class, left, top, right, bottom; got"),
        (np.zeros((3, 1, 5)), r"expected boxes \(2, M, 5\)"),
        (np.full((2, 1, 5), "a"), r"expected boxes \(2, M, 5\)"),
        (np.tile([[0, 5, 5, 5, 9]], (2, 1, 1)), ".*left < right and top < bottom"),
        (np.tile([[0.5, 1, 1, 5, 9]], (2, 1, 1)), ".*a whole number as class"),
        (np.tile([[0, 1, 1, np.inf, 9]], (2, 1, 1)), ".*left < right"),
        (np.tile([[np.nan, 1, 1, 5, 9]], (2, 1, 1)), ".*left < right"),
        (np.full((2, 10_001, 5), -1), "expected at most 10000 boxes an image"),
    ],
)
def test_what_are_no_boxes(boxes: np.ndarray, said: str) -> None:
    with pytest.raises(DatasetError, match=f"some: {said}"):
        checked_boxes("some", boxes, 2)


def test_a_class_without_a_name(tmp_path: Path) -> None:
    x, y = np.zeros((20, 16, 16), np.uint8), np.tile(np.array([[1, 1, 2, 8, 9]]), (20, 1, 1))
    np.savez(tmp_path / "some.npz", x_train=x, y_train=y, x_test=x, y_test=y, labels=["cup"])
    with pytest.raises(DatasetError, match="some: y_train: expected labels 0 to 0, got 0 to 1"):
        load_dataset(str(tmp_path / "some.npz"))


def test_labels_here_and_boxes_there(tmp_path: Path) -> None:
    x, y = np.zeros((20, 16, 16), np.uint8), np.tile(np.array(ONE), (20, 1, 1))
    np.savez(tmp_path / "some.npz", x_train=x, y_train=y, x_test=x, y_test=np.zeros(20, int))
    with pytest.raises(DatasetError, match="some: expected labels or boxes, got one of each"):
        load_dataset(str(tmp_path / "some.npz"))


def test_a_function_may_give_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boxed.py").write_text(
        "import numpy as np\n"
        "def some(count):\n"
        "    x = np.zeros((20, 16, 16, 1), np.uint8)\n"
        "    return x, np.tile(np.array([[0, 1, 2, 8, 9]]), (20, count, 1))\n"
        "def whole():\n"
        "    return some(2)\n"
        "def batches():\n"
        "    yield some(1)\n"
        "    yield some(1)\n"
        "def uneven():\n"
        "    yield some(1)\n"
        "    yield some(2)\n"
    )
    monkeypatch.chdir(tmp_path)
    data = load_dataset("boxed:whole")
    assert (data.y_train.shape, data.y_test.shape) == ((16, 2, 5), (4, 2, 5))
    assert load_dataset("boxed:batches").y_train.shape == (32, 1, 5)
    with pytest.raises(DatasetError, match="`boxed:uneven`: its batches hold boxes of different"):
        load_dataset("boxed:uneven")
