"""MNIST: found on this machine or fetched by Keras, and checked, whatever the source.

http://yann.lecun.com/exdb/mnist describes the four files.
"""

import contextlib
import hashlib
import io
import os
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.errors import DatasetError
from tinsmith_data.idx import encode_idx, read_idx
from tinsmith_data.npz import read_npz
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.errors import UsageError

# The name of each file, its number of axes, and the MD5 of its bytes when not compressed.
_FILES = {
    "x_train": ("train-images-idx3-ubyte", 3, "6bbc9ace898e44ae57da46a324031adb"),
    "y_train": ("train-labels-idx1-ubyte", 1, "a25bea736e30d166cdddb491f175f624"),
    "x_test": ("t10k-images-idx3-ubyte", 3, "2646ac647ad5339dbf082846283269ea"),
    "y_test": ("t10k-labels-idx1-ubyte", 1, "27ae3e4e09519cfbb04c329615203637"),
}
_CONNECT_TIMEOUT_S = 5.0

Arrays = dict[str, NDArray[np.uint8]]


def holds_mnist(folder: Path) -> bool:
    """Whether one of MNIST's four files lies in a folder, or in a folder `mnist` in it."""
    names = [f"{name}{end}" for name, _, _ in _FILES.values() for end in ("", ".gz")]
    return any(Path(place, name).exists() for place in (folder, folder / "mnist") for name in names)


def load_mnist(data_dir: Path | None) -> Arrays:
    """Loads MNIST from a folder of IDX files, else from Keras's cache, else by Keras's download.

    Args:
        data_dir: a folder with the four IDX files, gzipped or not, or with a folder `mnist` of
            them. It is then the only place looked at. `None` means `$TINSMITH_DATA/mnist` first.

    Returns:
        `x_train`, `x_test`: `uint8 (N, 28, 28)`; `y_train`, `y_test`: `uint8 (N,)`.

    Raises:
        DatasetError: MNIST is nowhere, or what is there is not MNIST.
    """
    if data_dir is not None:
        nested = data_dir / "mnist"
        folder = nested if nested.is_dir() else data_dir
        if not folder.is_dir():
            raise DatasetError(f"no folder {folder}: expected one with MNIST's four IDX files")
        return _read_folder(folder)
    root = os.environ.get("TINSMITH_DATA")
    if root and (folder := Path(root, "mnist")).is_dir():
        return _read_folder(folder)
    cache = keras_cache()
    failure = "" if cache.is_file() else _download()
    if failure:
        place = str(Path(root, "mnist")) if root else "$TINSMITH_DATA/mnist (not set)"
        raise DatasetError(
            f"no MNIST in {place} or Keras's cache, and its download failed ({failure}): "
            "give its folder, --data FOLDER, or use --data digits"
        )
    return _read_cache(cache)


def _read_folder(folder: Path) -> Arrays:
    arrays = {}
    for key, (name, ndim, _) in _FILES.items():
        candidates = [folder / name, folder / f"{name}.gz"]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise DatasetError(
                f"no {name} or {name}.gz in {folder}: give another folder, or use --data digits"
            )
        arrays[key] = read_idx(path, ndim)
        _check(arrays[key], key, str(path))
    return arrays


def _read_cache(path: Path) -> Arrays:
    try:
        arrays = read_npz(path)
        missing = [key for key in _FILES if key not in arrays]
        if missing:
            raise DatasetError(f"{path}: no array {', '.join(missing)}")
    except DatasetError as error:
        raise DatasetError(f"{error}; delete it to have it downloaded again") from error
    for key in _FILES:
        _check(arrays[key], key, f"{path}: {key}")
    return arrays


def _check(array: NDArray[np.uint8], key: str, source: str) -> None:
    name, _, expected = _FILES[key]
    digest = hashlib.md5(encode_idx(array), usedforsecurity=False).hexdigest()
    if digest != expected:
        raise DatasetError(f"{source} is not MNIST's {name}: expected MD5 {expected}, got {digest}")


def _download() -> str:
    """Has Keras download MNIST into its cache; gives why it could not, or an empty string."""
    try:
        import_tensorflow()
        with _short_timeout(), contextlib.redirect_stdout(io.StringIO()):
            from keras.datasets import mnist

            mnist.load_data()
    except (ImportError, UsageError):
        return "Keras is not installed"
    except Exception as error:  # Keras raises bare Exception for everything that goes wrong
        said = (
            str(error).partition("\n")[0].rpartition(" -- ")[2]
        )  # "URL fetch failure on … -- why"
        return textwrap.shorten(said, 80, placeholder=" …") or type(error).__name__
    return ""


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    """Lets no connection of Keras's, which sets no limit, hang on a network that is not there."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def keras_cache() -> Path:
    """The file that Keras downloads MNIST to."""
    return _keras_home() / "datasets" / "mnist.npz"


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
