"""Images with boxes as COCO has them: a JSON file of `images`, `categories` and `annotations`.

A folder holds the images and the file `annotations.json`, or the file is named itself; names of
images are relative to its folder. The format: https://cocodataset.org/#format-data.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.data import Data, Part
from tinsmith_data.errors import DatasetError
from tinsmith_data.folder import common_shape
from tinsmith_data.limits import is_real, is_whole
from tinsmith_data.npz import MAX_BYTES
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.inputs.image import read_photo
from tinsmith_runtime.inputs.placement import Placement
from tinsmith_runtime.record import read_json

ANNOTATIONS = "annotations.json"
_MAX_BYTES = 1 << 29  # COCO's largest file has 450 MB
_MAX_ID = 2**62
_MAX_BOXES = 10_000

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class _Coco:
    """What the file says.

    Attributes:
        paths: of the images.
        boxes: of each image `(M, 6)`: class, left, top, right, bottom, crowd, in its own pixels.
        names: of the classes, in the order of the categories' ids.
    """

    paths: tuple[Path, ...]
    boxes: tuple[Boxes, ...]
    names: tuple[str, ...]


def annotations_of(path: Path) -> Path | None:
    """The file of annotations that a folder holds, or that a path is; `None` if neither."""
    if path.suffix == ".json" and not path.is_dir():
        return path
    return path / ANNOTATIONS if (path / ANNOTATIONS).is_file() else None


def load_coco(
    path: Path, shape: tuple[int, ...] | None = None, preprocessing: Preprocessing | None = None
) -> Data:
    """Reads images and their boxes, which are moved with the images.

    Args:
        path: of the file of annotations.
        shape: `(H, W, C)` that images are fitted to; if `None`, see `folder.load_folder`.
        preprocessing: how they are fitted.

    Returns:
        Images and boxes `float32 (N, M, 6)`, see `boxes`.

    Raises:
        DatasetError: a file is missing or damaged, or says what cannot be.
    """
    coco = _read(path)
    shape = shape or common_shape(coco.paths)
    if len(shape) != 3:
        raise DatasetError(f"{path}: the model takes inputs of shape {shape}, which are no images")
    most = max(map(len, coco.boxes))
    if len(coco.paths) * max(math.prod(shape), 24 * most) > MAX_BYTES:
        raise DatasetError(f"{path}: expected images and boxes of at most {MAX_BYTES >> 30} GiB")
    images = np.empty((len(coco.paths), *shape), np.uint8)
    truth = np.full((len(coco.paths), most, 6), -1, np.float32)
    for index, (image, boxes) in enumerate(zip(coco.paths, coco.boxes, strict=True)):
        try:
            images[index], placement = read_photo(image, shape, preprocessing or Preprocessing())
        except TinsmithError as error:
            raise DatasetError(f"{path}: {error}") from error
        seen = _moved(boxes, placement)
        truth[index, : len(seen)] = seen
    return Data(path.stem, Part(images, truth), None, coco.names)


def _moved(boxes: Boxes, placement: Placement) -> Boxes:
    """Boxes in the pixels of the input; what of them is not seen there is cut off."""
    (left, top, right, bottom), filled = placement.seen, placement.filled
    size = np.array([filled[2] - filled[0], filled[3] - filled[1]])
    corners = boxes[:, 1:5].reshape(-1, 2, 2) - (left, top)
    corners = np.clip(corners * (size / (right - left, bottom - top)), 0, size) + filled[:2]
    moved = boxes.copy()
    moved[:, 1:5] = corners.reshape(-1, 4)
    # As the float32 numbers that they will be.
    low, high = moved[:, 1:3].astype(np.float32), moved[:, 3:5].astype(np.float32)
    return moved[(low < high).all(axis=1)]


def _read(path: Path) -> _Coco:
    try:
        tree = read_json(read_regular(path, _MAX_BYTES).decode())
    except FileNotFoundError as error:
        raise DatasetError(f"no file {path}") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: expected JSON: {error}") from error
    try:
        return _parse(tree, path.parent)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error


def _parse(tree: object, folder: Path) -> _Coco:
    images = dict(_named(tree, "images", "file_name"))
    categories = dict(sorted(_named(tree, "categories", "name")))
    if not images:
        raise ValueError("images: expected at least one")
    if len(set(categories.values())) < len(categories):
        raise ValueError("categories: expected names that differ")
    for name in images.values():
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise ValueError(f"images: expected file names below the file's folder, got {name!r}")
    places, classes = (
        {key: index for index, key in enumerate(known)} for known in (images, categories)
    )
    boxes: list[list[tuple[float, ...]]] = [[] for _ in images]
    for where, record in _records(tree, "annotations"):
        image, category = record.get("image_id"), record.get("category_id")
        if not (isinstance(image, int) and isinstance(category, int)):
            raise ValueError(f"{where}: expected the id of an image and of a category")
        if image not in places or category not in classes:
            raise ValueError(f"{where}: expected the id of an image and of a category above")
        own = boxes[places[image]]
        own.append((classes[category], *_box(where, record), record.get("iscrowd") == 1))
        if len(own) > _MAX_BOXES:
            raise ValueError(f"{where}: expected at most {_MAX_BOXES} boxes an image")
    found = tuple(np.array(rows, np.float64).reshape(-1, 6) for rows in boxes)
    paths = tuple(folder / name for name in images.values())
    return _Coco(paths, found, tuple(categories.values()))


def _box(where: str, record: Mapping[str, Any]) -> tuple[float, float, float, float]:
    box = record.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_real, box))):
        raise ValueError(f"{where}.bbox: expected left, top, width, height")
    left, top, width, height = box
    if min(width, height) < 0 or max(map(abs, box)) > 1e6:
        raise ValueError(f"{where}.bbox: expected left, top, width, height in pixels, got {box}")
    return left, top, left + width, top + height


def _named(tree: object, field: str, name: str) -> Iterator[tuple[int, str]]:
    """Ids and names."""
    known: set[int] = set()
    for where, record in _records(tree, field):
        key, text = record.get("id"), record.get(name)
        if not (isinstance(key, int) and is_whole(key, 0, _MAX_ID)) or not _is_name(text):
            raise ValueError(f"{where}: expected an id and a {name}")
        if key in known:
            raise ValueError(f"{where}: expected ids that differ, got {key} again")
        known.add(key)
        yield key, str(text)


def _is_name(text: object) -> bool:
    return isinstance(text, str) and bool(text) and text.isprintable()


def _records(tree: object, field: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    records = tree.get(field) if isinstance(tree, dict) else None
    if not isinstance(records, list):
        raise ValueError(f"{field}: expected a list, as COCO has it")
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{field}[{index}]: expected an object")
        yield f"{field}[{index}]", record
