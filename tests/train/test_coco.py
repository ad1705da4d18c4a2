"""Images with boxes as COCO has them, from friends and strangers."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from narrow import array, some
from PIL import Image

from tinsmith_data import DatasetError
from tinsmith_data.sources import read_data
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.inputs.placement import place


def tree() -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "wide.png"}, {"id": 3, "file_name": "more/tall.png"}],
        "categories": [{"id": 44, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 44, "bbox": [10, 5, 20, 10]},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5.5, 5], "iscrowd": 1},
        ],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    Image.new("L", (40, 20), 9).save(tmp_path / "wide.png")
    Image.new("L", (40, 20), 200).save(tmp_path / "more" / "tall.png")
    (tmp_path / "annotations.json").write_text(json.dumps(tree()))
    return tmp_path


def written(folder: Path, said: object) -> str:
    (folder / "annotations.json").write_text(json.dumps(said))
    return str(folder)


@pytest.mark.parametrize("name", ["", "annotations.json"])
def test_a_folder_or_its_file(folder: Path, name: str) -> None:
    data = read_data(str(folder / name))
    images, boxes = data.test.inputs, data.test.labels
    assert isinstance(images, np.ndarray)
    assert images.shape == (2, 20, 40, 1)
    assert images[:, 0, 0, 0].tolist() == [9, 200]
    assert data.classes == ("cat", "dog")
    assert boxes is not None
    assert boxes.tolist() == [
        [[1, 10, 5, 30, 15, 0], [0, 0, 0, 5.5, 5, 1]],
        [[-1] * 6, [-1] * 6],
    ]


@pytest.mark.parametrize("fit", ["stretch", "contain", "crop"])
def test_boxes_move_with_their_image(folder: Path, fit: str) -> None:
    """The way back, which the runtime goes with what it finds, gives the photo's pixels."""
    data = read_data(str(folder), shape=(24, 24, 1), preprocessing=Preprocessing(fit=fit))
    assert data.test.labels is not None
    row = data.test.labels[0, 0]
    back = place((40, 20), (24, 24), fit).to_photo(row[np.newaxis, 1:5].astype(np.float64))
    # Float32 has 7 digits.
    np.testing.assert_allclose(back[0], [10, 5, 30, 15], atol=1e-4)
    assert (data.test.labels[0, 1, 0] == -1) == (fit == "crop"), "a crop does not see the cat"


def broken(change: str, value: object) -> dict[str, Any]:
    """The tree with one value at a path as `images.0.id`."""
    whole = tree()
    *way, last = change.split(".")
    at: Any = whole
    for step in way:
        at = at[int(step) if isinstance(at, list) else step]
    at[int(last) if isinstance(at, list) else last] = value
    return whole


@pytest.mark.parametrize(
    ("change", "value", "said"),
    [
        ("images", 3, "images: expected a list, as COCO has it"),
        ("images", [], "images: expected at least one"),
        ("images.0", 3, r"images\[0\]: expected an object"),
        ("images.0.id", "7", r"images\[0\]: expected an id and a file_name"),
        ("images.0.id", True, r"images\[0\]: expected an id and a file_name"),
        ("images.0.id", 3, r"images\[1\]: expected ids that differ, got 3 again"),
        ("images.0.file_name", "../wide.png", "expected file names below the file's folder"),
        ("images.0.file_name", "/etc/passwd", "expected file names below the file's folder"),
        ("images.0.file_name", "none.png", "none.png: no such file"),
        ("images.0.file_name", "annotations.json", "annotations.json: expected a PNG or JPEG"),
        ("images.0.file_name", "wide\0.png", r"images\[0\]: expected an id and a file_name"),
        ("categories.0.name", "cat", "categories: expected names that differ"),
        ("annotations.0.image_id", 8, r"annotations\[0\]: expected the id of an image and of a"),
        ("annotations.0.category_id", [2], r"annotations\[0\]: expected the id of an image"),
        ("annotations.0.bbox", [1, 2, 3], r"annotations\[0\].bbox: expected left, top, width"),
        ("annotations.0.bbox", [1, 2, 3, "4"], r"annotations\[0\].bbox: expected left, top"),
        ("annotations.0.bbox", [1, 2, -3, 4], r"annotations\[0\].bbox: expected left, top"),
        ("annotations.0.bbox", [1, 2, float("nan"), 4], r"annotations\[0\].bbox: expected left"),
        ("annotations.0.bbox", [1, 2, 1e300, 4], r"annotations\[0\].bbox: expected left, top"),
    ],
)
def test_what_is_wrong_has_its_path(folder: Path, change: str, value: object, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_data(written(folder, broken(change, value)))


def test_images_of_two_sizes_are_fitted_to_one(folder: Path) -> None:
    before = read_data(str(folder)).test
    Image.new("L", (20, 40)).save(folder / "wide.png")
    found = read_data(str(folder)).test
    assert array(before.inputs).shape[1:3] != array(found.inputs).shape[1:3] == (96, 96)
    boxes = some(found.labels)
    assert boxes.shape == some(before.labels).shape
    assert boxes[..., 1:5].max() <= 96


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_anywhere_is_one_error(folder: Path, data: st.DataObject) -> None:
    text = bytearray(json.dumps(tree()).encode())
    place_ = data.draw(st.integers(0, len(text) - 1))
    text[place_ : place_ + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=4))
    (folder / "annotations.json").write_bytes(text)
    with contextlib.suppress(DatasetError):
        found = read_data(str(folder))
        assert found.test.labels is not None
        assert found.test.labels.shape[2] == 6
