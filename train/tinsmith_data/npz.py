"""Reading `.npz` files, numpy's archives of arrays, from strangers."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinsmith_data.data import Data, Part, require_as_many
from tinsmith_data.errors import DatasetError
from tinsmith_runtime import npz
from tinsmith_runtime.batch import joined
from tinsmith_runtime.files import open_regular

MAX_BYTES = 1 << 32
"""What the arrays of a file may take together, unpacked: 4 GiB."""

_KEYS = ("x", "inputs")

Choose = Callable[[list[str]], Iterable[str]]


def read_npz(path: Path, choose: Choose = lambda keys: keys) -> dict[str, NDArray[Any]]:
    """Reads arrays of an archive; none may hold Python objects, whose loading runs code.

    Args:
        path: the file's.
        choose: gives those names of all that are read; it may raise.

    Raises:
        DatasetError: there is no such file, or it is no archive.
    """
    try:
        with open_regular(path) as stream:
            return npz.read_npz(stream, choose, MAX_BYTES)
    except FileNotFoundError as error:
        raise DatasetError(f"no file {path}") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: expected an .npz file of plain arrays: {error}") from error


def load_npz(path: Path, names: tuple[str, ...] = ()) -> Data:
    """Reads one array, or `x` (or `inputs`) and `y`, or `x_train`, `y_train`, `x_test`, `y_test`.

    Args:
        path: the file's; `labels` in it are the names of the classes.
        names: of several inputs, of which each is an array.

    Raises:
        DatasetError: an array is missing, or see `read_npz`.
    """
    arrays = read_npz(path)
    named = "labels" in arrays and "labels" not in names
    classes = class_names(path, arrays.pop("labels")) if named else ()
    if names:
        return Data(path.stem, _several(path, arrays, names), None, classes)
    if {"x_train", "x_test"} <= arrays.keys():
        train, test = (
            Part(arrays[f"x_{key}"], arrays.get(f"y_{key}")) for key in ("train", "test")
        )
        return Data(path.stem, test, train, classes)
    keys = [key for key in _KEYS if key in arrays] or [key for key in arrays if key != "y"]
    if len(keys) != 1:
        raise DatasetError(
            f"{path}: expected one array, or {', '.join(_KEYS)}, or x_train and x_test; "
            f"got {', '.join(arrays) or 'none'}"
        )
    return Data(path.stem, Part(arrays[keys[0]], arrays.get("y")), None, classes)


def _several(path: Path, arrays: dict[str, NDArray[Any]], names: tuple[str, ...]) -> Part:
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DatasetError(
            f"{path}: expected an array for each input of the model ({', '.join(names)}), no "
            f"{', '.join(missing)}; got {', '.join(arrays) or 'none'}"
        )
    inputs = joined([arrays.pop(name) for name in names])
    require_as_many(path.stem, inputs, names)
    return Part(inputs, arrays.get("y"))


def class_names(path: Path, labels: NDArray[Any]) -> tuple[str, ...]:
    """The names of the classes, which an archive calls `labels`.

    Raises:
        DatasetError: they are no list.
    """
    if labels.ndim != 1:
        raise DatasetError(f"{path}: labels: expected names (N,), got shape {labels.shape}")
    return tuple(map(str, labels.tolist()))
