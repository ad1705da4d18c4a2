"""What people point `tinsmith run` at: files, folders, globs, standard input or a camera."""

import csv
import glob
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.batch import Array, Arrays
from tinsmith_runtime.bundle import Input, Preprocessing
from tinsmith_runtime.errors import InputError, TinsmithError, UsageError
from tinsmith_runtime.files import open_regular
from tinsmith_runtime.inputs.camera import camera_frames
from tinsmith_runtime.inputs.features import check_features
from tinsmith_runtime.inputs.image import MAX_FILE_BYTES, Picture, check_pixels, read_image
from tinsmith_runtime.npy import read_npy
from tinsmith_runtime.npz import read_npz

if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

STDIN = "-"
SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".npy"),
    "features": (".csv", ".npy", ".npz"),
    "ids": (".csv", ".npy", ".npz"),
}

_MAX_NPZ_BYTES = 1 << 30  # of arrays, which are read as a whole; a .npy file may hold more
# A cell is a number of 17 digits with sign, point and exponent, and room; so has a line.
_CELL_CHARACTERS, _LINE_CHARACTERS = 64, 1 << 16


@dataclass(frozen=True)
class Sample:
    """What a model makes one prediction of.

    Attributes:
        name: the file, with the line or row where it holds several.
        read: gives the sample as the model takes it, a tuple of arrays for several inputs, or
            raises an error that begins with `name`.
        picture: what `read` reads, if that is one image; `None` of others, and where it fails.
    """

    name: str
    read: Callable[[], Arrays]
    picture: "Picture | None" = None


def find_samples(words: Sequence[str], inputs: Sequence[Input]) -> Iterator[Sample]:
    """Finds what a command line names.

    Args:
        words: files, folders, globs, and `-` for standard input.
        inputs: what the model takes: of features, a file may hold many samples; of several inputs
            an `.npz` file holds an array for each.

    Returns:
        The samples, in order; what cannot be read says so when it is read.
    """
    suffixes = SUFFIXES[inputs[0].kind] if len(inputs) == 1 else (".npz",)
    for word in words:
        try:
            names = _expand(word, suffixes)
        except (TinsmithError, OSError, RecursionError) as error:
            yield Sample(word, partial(_fail, word, error))
            continue
        for name in names:
            try:
                yield from _samples(name, inputs)
            except (TinsmithError, OSError) as error:
                yield Sample(name, partial(_fail, name, error))


def camera_samples(source: str, inputs: Sequence[Input]) -> Iterator[Sample]:
    """Gives the frames of a camera or a video, made into what a model of images takes.

    Raises:
        UsageError: the model takes no images or more than that, or see `camera_frames`.
        TinsmithError: see `camera_frames`.
    """
    entry = inputs[0]
    if len(inputs) > 1:
        raise UsageError(f"--camera: {_expected_npz(inputs)}")
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
        files = sorted(name for name in _matches(word) if not Path(name).is_dir())
        if not files:
            raise UsageError(f"{word}: matches no file")
        return files
    return [word]


def _matches(pattern: str) -> set[str]:
    """What a glob names; `**` goes into folders, but not by links, which may lead in circles."""
    if pattern.endswith("**"):
        pattern += "/*"
    above, deep, rest = pattern.partition("**/")
    if not deep or above[-1:] not in ("", "/"):
        return set(glob.glob(pattern))  # noqa: PTH207 takes no absolute pattern
    names: set[str] = set()
    for start in glob.glob(above) if above else [os.curdir]:  # noqa: PTH207
        for folder, inner, _ in os.walk(start):
            inner[:] = [name for name in inner if not name.startswith(".")]
            names |= _matches(str(Path(glob.escape(folder), rest)))
    return names


def _samples(name: str, inputs: Sequence[Input]) -> Iterator[Sample]:
    entry, shape = inputs[0], inputs[0].sample_shape
    suffix = Path(name).suffix.lower()
    if len(inputs) > 1:
        if suffix != ".npz":
            raise UsageError(f"{name}: {_expected_npz(inputs)}")
        yield from _rows_of_several(name, inputs)
    elif entry.kind == "image" and name == STDIN:
        yield _picture(_stdin().buffer.read(MAX_FILE_BYTES + 1), "standard input", entry)
    elif entry.kind == "image":
        yield _picture(name, name, entry)
    elif name == STDIN:
        yield from _csv_rows("standard input", _stdin(), shape)
    elif suffix == ".npy":
        yield from _array_rows(name, read_npy(Path(name)), shape)
    elif suffix == ".npz":
        (array,) = _read_npz(name, partial(_only_key, name))
        yield from _array_rows(name, array, shape)
    else:
        with _open(name) as stream:
            lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            yield from _csv_rows(name, lines, shape)


def _stdin() -> "TextIO":
    if sys.stdin is None:
        raise UsageError("standard input: expected something to read, found it closed")
    return sys.stdin


def _open(name: str) -> "BinaryIO":
    try:
        return open_regular(name)
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error


def _picture(image: Picture, name: str, entry: Input) -> Sample:
    preprocessing = entry.preprocessing or Preprocessing()
    read = partial(read_image, image, entry.sample_shape, preprocessing, name)
    return Sample(name, read, image)


def _fail(name: str, error: Exception) -> NoReturn:
    if isinstance(error, TinsmithError):
        raise error
    said = error.strerror if isinstance(error, OSError) else "its folders lie too deep"
    raise InputError(f"{name}: {said or error}") from error


def _expected_npz(inputs: Sequence[Input]) -> str:
    names = ", ".join(entry.name for entry in inputs)
    return f"the model takes {len(inputs)} inputs: expected an .npz file with arrays {names}"


def _only_key(name: str, keys: list[str]) -> list[str]:
    if len(keys) != 1 and "x" not in keys:
        raise InputError(f"{name}: expected one array or one named x, got {keys}")
    return ["x"] if "x" in keys else keys


def _read_npz(name: str, choose: Callable[[list[str]], Sequence[str]]) -> list[Array]:
    """Reads the arrays that `choose` takes of the names of all, in that order."""
    with _open(name) as stream:
        try:
            return list(read_npz(stream, choose, _MAX_NPZ_BYTES).values())
        except ValueError as error:
            raise InputError(f"{name}: expected an .npz file of plain arrays: {error}") from error


def _rows_of_several(name: str, inputs: Sequence[Input]) -> Iterator[Sample]:
    """The samples of an archive that holds an array for each input: one sample, or as many each."""

    def choose(keys: list[str]) -> list[str]:
        if missing := [entry.name for entry in inputs if entry.name not in keys]:
            raise InputError(f"{name}: {_expected_npz(inputs)}: no {', '.join(missing)} in it")
        return [entry.name for entry in inputs]

    arrays = _read_npz(name, choose)
    if all(a.shape == entry.sample_shape for a, entry in zip(arrays, inputs, strict=True)):
        yield Sample(name, partial(_check_row, name, arrays, inputs))
        return
    for array, entry in zip(arrays, inputs, strict=True):
        if array.shape != (*arrays[0].shape[:1], *entry.sample_shape):
            sizes = ", ".join(map(str, entry.sample_shape))
            raise InputError(
                f"{name}: {entry.name}: expected shape (N, {sizes}), as many of each input, "
                f"got {array.shape}"
            )
    for index, row in enumerate(zip(*arrays, strict=True)):
        title = f"{name}[{index}]"
        yield Sample(title, partial(_check_row, title, row, inputs))


def _check_row(name: str, arrays: Sequence[Array], inputs: Sequence[Input]) -> Arrays:
    for array, entry in zip(arrays, inputs, strict=True):
        check = check_pixels if entry.kind == "image" else check_features
        check(f"{name}: {entry.name}", array, entry.sample_shape)
    return tuple(arrays)


def _array_rows(name: str, array: Array, shape: tuple[int, ...]) -> Iterator[Sample]:
    if array.shape == shape:
        yield Sample(name, partial(check_features, name, array, shape))
    elif array.shape[1:] == shape:
        for index, row in enumerate(array):
            title = f"{name}[{index}]"
            yield Sample(title, partial(check_features, title, row, shape))
    else:
        sizes = ", ".join(map(str, shape))
        raise InputError(f"{name}: expected shape (N, {sizes}), got {array.shape}")


def _csv_rows(name: str, lines: "TextIO", shape: tuple[int, ...]) -> Iterator[Sample]:
    limit = _LINE_CHARACTERS + _CELL_CHARACTERS * math.prod(shape)
    try:
        for number in itertools.count(1):
            line = lines.readline(limit + 1)
            if len(line) > limit:
                raise InputError(f"{name}:{number}: expected at most {limit:,} characters a line")
            if not line:
                return
            cells = next(csv.reader([line]))
            header = number == 1 and not any(map(_is_number, cells))
            if cells and not header:
                title = f"{name}:{number}"
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
