"""Reading `.npz` files, numpy's archives of arrays, from strangers."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_train.errors import DatasetError

# What numpy and zipfile raise on files that are no archive of plain arrays, or a damaged one.
_DAMAGE = (
    *(EOFError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_npz(path: Path, required: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Reads every array of an archive; none may hold Python objects, whose loading runs code.

    Raises:
        DatasetError: there is no such file, it is no archive, or a required array is missing.
    """
    if not path.is_file():
        raise DatasetError(f"no file {path}")
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: not an .npz file")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive}
    except _DAMAGE as error:
        raise DatasetError(f"{path}: not an .npz file of plain arrays: {error}") from error
    missing = [key for key in required if key not in arrays]
    if missing:
        raise DatasetError(f"{path}: no array {', '.join(missing)}: expected {', '.join(required)}")
    return arrays
