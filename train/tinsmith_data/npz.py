"""Reading `.npz` files, numpy's archives of arrays, from strangers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinsmith_data.errors import DatasetError
from tinsmith_runtime import npz
from tinsmith_runtime.files import open_regular

MAX_BYTES = 1 << 32
"""What the arrays of a file may take together, unpacked: 4 GiB."""


def read_npz(path: Path, required: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Reads every array of an archive; none may hold Python objects, whose loading runs code.

    Raises:
        DatasetError: there is no such file, it is no archive, or a required array is missing.
    """
    try:
        with open_regular(path) as stream:
            arrays = npz.read_npz(stream, lambda keys: keys, MAX_BYTES)
    except FileNotFoundError as error:
        raise DatasetError(f"no file {path}") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: not an .npz file of plain arrays: {error}") from error
    missing = [key for key in required if key not in arrays]
    if missing:
        raise DatasetError(f"{path}: no array {', '.join(missing)}: expected {', '.join(required)}")
    return arrays


def class_names(path: Path, labels: NDArray[Any]) -> tuple[str, ...]:
    """The names of the classes, which an archive calls `labels`.

    Raises:
        DatasetError: they are no list.
    """
    if labels.ndim != 1:
        raise DatasetError(f"{path}: labels: expected names (N,), got shape {labels.shape}")
    return tuple(map(str, labels.tolist()))
