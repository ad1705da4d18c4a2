"""What people point `tinsmith run` at: files, folders, globs, standard input or a camera."""

import csv
import glob
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.camera import camera_frames
from tinsmith_runtime.errors import InputError, TinsmithError, UsageError
from tinsmith_runtime.features import check_features
from tinsmith_runtime.golden import ZIP_TROUBLE
from tinsmith_runtime.image import Picture, read_image, read_npy
from tinsmith_runtime.manifest import Input, Preprocessing

STDIN = "-"
SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".npy"),
    "features": (".csv", ".npy", ".npz"),
}


@dataclass(frozen=True)
class Sample:
    """One input of a model.

    Attributes:
        name: the file, with the line or row where it holds several.
        read: gives the sample as the model takes it, or raises an error that begins with `name`.
    """

    name: str
    read: Callable[[], NDArray[Any]]


def find_samples(words: Sequence[str], entry: Input) -> Iterator[Sample]:
    """Finds what a command line names.

    Args:
        words: files, folders, globs, and `-` for standard input.
        entry: what the model takes: of features, a file may hold many samples.

    Returns:
        The samples, in order; what cannot be read says so when it is read.
    """
    for word in words:
        try:
            for name in _expand(word, SUFFIXES[entry.kind]):
                yield from _samples(name, entry)
        except TinsmithError as error:
            yield Sample(word, partial(_fail, error))
        except OSError as error:
            yield Sample(word, partial(_fail, InputError(f"{word}: {error.strerror}")))


def camera_samples(source: str, entry: Input) -> Iterator[Sample]:
    """Gives the frames of a camera or a video, made into what a model of images takes.

    Raises:
        UsageError: the model takes no images, or see `camera_frames`.
        TinsmithError: see `camera_frames`.
    """
    if entry.kind != "image":
        raise UsageError(f"--camera: the model takes {entry.kind}, not images")
    for number, frame in enumerate(camera_frames(source), 1):
        yield _picture(frame, f"frame {number}", entry)


def _expand(word: str, suffixes: tuple[str, ...]) -> list[str]:
    path = Path(word)
    if path.is_dir():
        files = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in suffixes)
        if not files:
            raise UsageError(f"{word}: expected files in it ({', '.join(suffixes)}), found none")
        return files
    if glob.has_magic(word) and not path.exists():
        names = glob.glob(word, recursive=True)  # noqa: PTH207 takes no absolute pattern
        files = sorted(name for name in names if Path(name).is_file())
        if not files:
            raise UsageError(f"{word}: matches no file")
        return files
    return [word]


def _samples(name: str, entry: Input) -> Iterator[Sample]:
    shape = entry.sample_shape
    suffix = Path(name).suffix.lower()
    if entry.kind == "image" and name == STDIN:
        yield _picture(sys.stdin.buffer.read(), "standard input", entry)
    elif entry.kind == "image":
        yield _picture(name, name, entry)
    elif name == STDIN:
        yield from _csv_rows("standard input", sys.stdin, shape)
    elif suffix == ".npy":
        yield from _array_rows(name, read_npy(Path(name)), shape)
    elif suffix == ".npz":
        yield from _array_rows(name, _read_npz(name), shape)
    elif not Path(name).exists():
        raise UsageError(f"{name}: no such file")
    else:
        with Path(name).open(encoding="utf-8-sig", newline="") as lines:
            yield from _csv_rows(name, lines, shape)


def _picture(image: Picture, name: str, entry: Input) -> Sample:
    preprocessing = entry.preprocessing or Preprocessing()
    return Sample(name, partial(read_image, image, entry.sample_shape, preprocessing, name))


def _fail(error: TinsmithError) -> NDArray[Any]:
    raise error


def _read_npz(name: str) -> NDArray[Any]:
    try:
        with np.load(name, allow_pickle=False) as arrays:
            keys = arrays.files
            if len(keys) != 1 and "x" not in keys:
                raise InputError(f"{name}: expected one array or one named x, got {keys}")
            array: NDArray[Any] = arrays["x" if "x" in keys else keys[0]]
            return array
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error
    except (*ZIP_TROUBLE, AttributeError, MemoryError, TypeError) as error:
        raise InputError(f"{name}: expected an .npz file of plain arrays: {error}") from error


def _array_rows(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> Iterator[Sample]:
    if array.shape == shape:
        yield Sample(name, partial(check_features, name, array, shape))
    elif array.shape[1:] == shape:
        for index, row in enumerate(array):
            title = f"{name}[{index}]"
            yield Sample(title, partial(check_features, title, row, shape))
    else:
        sizes = ", ".join(map(str, shape))
        raise InputError(f"{name}: expected shape (N, {sizes}), got {array.shape}")


def _csv_rows(name: str, lines: Iterable[str], shape: tuple[int, ...]) -> Iterator[Sample]:
    reader = csv.reader(lines)
    try:
        for cells in reader:
            header = reader.line_num == 1 and not any(map(_is_number, cells))
            if cells and not header:
                title = f"{name}:{reader.line_num}"
                yield Sample(title, partial(_parse_cells, title, cells, shape))
    except (csv.Error, ValueError) as error:
        raise InputError(f"{name}: expected CSV, .npy or .npz: {error}") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse_cells(name: str, cells: list[str], shape: tuple[int, ...]) -> NDArray[np.float32]:
    count = math.prod(shape)
    if len(cells) != count:
        raise InputError(f"{name}: expected {count} numbers, got {len(cells)}")
    try:
        reals = np.array([float(cell) for cell in cells])
    except ValueError as error:
        raise InputError(f"{name}: expected numbers: {error}") from error
    return check_features(name, reals.reshape(shape), shape)
