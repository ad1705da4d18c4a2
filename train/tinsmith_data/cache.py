"""Images that were read before, kept in the user's cache folder.

One `.npz` file for each folder of images and form that they were read in. An image is read anew
when its path, its size in bytes or its time of change is another. The file is only a copy: what is
missing, damaged or not of the expected form is left aside and written anew. Nothing in it is run.
"""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.files import open_regular, write_whole
from tinsmith_runtime.npz import read_npz

MAX_BYTES = 1 << 29
"""What one file may take: 512 MiB. More images than that are read each time."""

_OLDEST_S = 30 * 24 * 3600.0  # a file that was not used for so long is removed
_STAMP = 32  # bytes


def cache_folder() -> Path:
    """`$TINSMITH_CACHE`, else `tinsmith` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    if os.environ.get("TINSMITH_CACHE"):
        return Path(os.environ["TINSMITH_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(base, "tinsmith")


def stamps(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """`uint8 (N, 32)`, which change when a file does; zeros where there is none."""
    found = np.zeros((len(paths), _STAMP), np.uint8)
    for row, path in enumerate(paths):
        with contextlib.suppress(OSError):
            status = path.stat()
            text = f"{os.fspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
            digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
            found[row] = np.frombuffer(digest, np.uint8)
    return found


class Cache:
    """Rows of several arrays, by the stamp of the file that each was made of.

    Args:
        name: says the folder of images and the form that they are read in.
        shapes: of a row of each array.
    """

    def __init__(self, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
        self._path = cache_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npz"
        self._shapes = {"stamps": (_STAMP,), **shapes}

    def read(self) -> tuple[dict[bytes, int], dict[str, NDArray[np.uint8]]]:
        """Gives the row of each stamp, and the arrays; nothing if there is no sound file."""
        try:
            with open_regular(self._path, follow=False) as stream:
                arrays = read_npz(stream, lambda _: self._shapes, MAX_BYTES)
        except (OSError, ValueError, KeyError):
            return {}, {}
        sizes = {len(array) if array.ndim else 0 for array in arrays.values()}
        sound = len(sizes) == 1 and all(
            arrays[key].dtype == np.uint8 and arrays[key].shape[1:] == shape
            for key, shape in self._shapes.items()
        )
        if not sound:
            return {}, {}
        with contextlib.suppress(OSError):
            os.utime(self._path)
        return {stamp.tobytes(): row for row, stamp in enumerate(arrays["stamps"])}, arrays

    def write(self, arrays: dict[str, NDArray[np.uint8]]) -> None:
        """Keeps arrays, `stamps` among them, if there is room; removes old files beside."""
        if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
            return
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **arrays)
        with contextlib.suppress(OSError, TinsmithError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self._path.parent.glob("*.npz"):
                if time.time() - path.stat().st_mtime > _OLDEST_S:
                    path.unlink()
            write_whole(self._path, data.getvalue())
