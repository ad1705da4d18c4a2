"""Reading the images of a folder: in parallel, from the cache where it has them.

An image that cannot be read is named and left out, unless most of them cannot.
"""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.cache import Cache, stamps
from tinsmith_data.errors import DatasetError
from tinsmith_data.npz import MAX_BYTES
from tinsmith_data.similar import SIDE
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.errors import TinsmithError, printable
from tinsmith_runtime.inputs.image import read_image

Shape = tuple[int, ...]
Indices = NDArray[np.int64]
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_THUMBNAIL = Preprocessing(resampling="box")
_TIMED = 32  # files whose time to decode is measured


@dataclass(frozen=True)
class Images:
    """What lies in a folder.

    Attributes:
        folder: where.
        paths: of the images, in order.
        classes: the name of each image's class, or none.
        is_test: whether each lies in the folder `test`; none, where nobody divided them.
    """

    folder: Path
    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    is_test: tuple[bool, ...] = ()

    def chosen(self, indices: Iterable[int]) -> "Images":
        """Some of the images."""
        found = list(indices)
        return replace(
            self,
            paths=tuple(self.paths[index] for index in found),
            classes=tuple(self.classes[index] for index in found) if self.classes else (),
            is_test=tuple(self.is_test[index] for index in found) if self.is_test else (),
        )


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images that were read.

    Attributes:
        images: those that could be read.
        array: `uint8 (N, H, W, C)`.
        thumbnails: `uint8 (N, 256)`, for `similar.near_duplicates`.
    """

    images: Images
    array: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]


def read_images(
    images: Images, shape: Shape, preprocessing: Preprocessing | None = None, *, cached: bool = True
) -> Pixels:
    """Reads images and fits them to a shape; says on standard error which cannot be read.

    Args:
        images: see `folder.find_images`.
        shape: `(H, W, C)`.
        preprocessing: how they are fitted.
        cached: whether images are taken from the user's cache, and kept there.

    Raises:
        DatasetError: they take too much memory, or half of them or more cannot be read.
    """
    paths, preprocessing = images.paths, preprocessing or Preprocessing()
    if len(paths) * math.prod(shape) > MAX_BYTES:
        raise DatasetError(
            f"{images.folder}: expected at most {MAX_BYTES // math.prod(shape):,} images of "
            f"{shape}, found {len(paths):,}: a few hundred are good"
        )
    name = f"1 {images.folder.absolute()} {shape} {preprocessing} {_pillow()}"
    cache = Cache(name, {"pixels": shape, "thumbnails": (SIDE**2,)})
    rows, kept = cache.read() if cached else ({}, {})
    marks = stamps(paths)
    pixels = np.empty((len(paths), *shape), np.uint8)
    thumbnails = np.empty((len(paths), SIDE**2), np.uint8)

    def read(index: int) -> TinsmithError | None:
        row = rows.get(marks[index].tobytes())
        if row is not None:
            pixels[index], thumbnails[index] = kept["pixels"][row], kept["thumbnails"][row]
            return None
        try:
            pixels[index] = read_image(paths[index], shape, preprocessing)
            thumbnails[index] = _thumbnail(paths[index], pixels[index])
        except TinsmithError as error:
            return error
        return None

    errors = in_parallel(read, range(len(paths)))
    good = [index for index, error in enumerate(errors) if error is None]
    _report_broken(images, [error for error in errors if error is not None], errors)
    found = {"pixels": pixels[good], "thumbnails": thumbnails[good]}
    if cached and not {marks[index].tobytes() for index in good} <= rows.keys():
        cache.write({"stamps": marks[good], **found})
    return Pixels(images.chosen(good), found["pixels"], found["thumbnails"])


def decode_time(images: Images, shape: Shape, preprocessing: Preprocessing | None = None) -> float:
    """Median time to read, decode and fit one file, one after the other, in microseconds."""
    durations_ns = []
    for path in images.paths[:_TIMED]:
        start = perf_counter_ns()
        with contextlib.suppress(TinsmithError):
            read_image(path, shape, preprocessing or Preprocessing())
            durations_ns.append(perf_counter_ns() - start)
    return float(np.median(durations_ns or [0])) / 1e3


def in_parallel(function: Callable[[_Given], _Made], values: Iterable[_Given]) -> list[_Made]:
    """Calls a function with each value, on all cores: Pillow decodes without Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, values))


def _thumbnail(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`uint8 (256,)` of the whole image, whatever size and colours it is fitted to."""
    if path.suffix.lower() != ".npy":
        return read_image(path, (SIDE, SIDE, 1), _THUMBNAIL).ravel()
    rows, columns = (np.linspace(0, size - 1, SIDE).astype(int) for size in pixels.shape[:2])
    grey: NDArray[np.uint8] = pixels.mean(axis=2)[np.ix_(rows, columns)].astype(np.uint8)
    return grey.ravel()


def _report_broken(
    images: Images, broken: Sequence[TinsmithError], errors: Sequence[TinsmithError | None]
) -> None:
    if not broken:
        return
    paths = [path for path, error in zip(images.paths, errors, strict=True) if error is not None]
    others = [path.relative_to(images.folder).as_posix() for path in paths[1:4]]
    also = f"; also {', '.join(others)}" if others else ""
    more = f" and {len(broken) - 4} more" if len(broken) > 4 else ""
    said = f"{len(broken)} of {len(errors)} images cannot be read"
    if 2 * len(broken) >= len(errors):
        raise DatasetError(f"{said}: {broken[0]}{also}{more}")
    print(printable(f"tinsmith: {said} and are left out: {broken[0]}{also}{more}"), file=sys.stderr)


def _pillow() -> str:
    try:
        from PIL import __version__
    except ImportError:
        return "none"
    return __version__
