"""Folders of images: `FOLDER/CLASS/*.png`, or images without labels.

Every image below the folder counts. Where none lies in the folder itself, the folders in it name
the classes.
"""

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.data import Data, Part
from tinsmith_data.errors import DatasetError
from tinsmith_data.npz import MAX_BYTES
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.inputs.image import MAX_FILE_BYTES, read_image
from tinsmith_runtime.npy import read_npy

SUFFIXES = (".jpeg", ".jpg", ".npy", ".png")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Images:
    """What lies in a folder.

    Attributes:
        folder: where.
        paths: of the images, in order.
        classes: the name of each image's class, or none.
    """

    folder: Path
    paths: tuple[Path, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images that were read.

    Attributes:
        array: `uint8 (N, H, W, C)`.
        decode_us: median time to read and decode one file.
    """

    array: NDArray[np.uint8]
    decode_us: float


def find_images(folder: Path) -> Images:
    """Finds every image below a folder; links to folders are not followed.

    Raises:
        DatasetError: there is none, or a folder cannot be read.
    """
    try:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    except (OSError, RecursionError) as error:
        raise DatasetError(f"{folder}: its folders cannot be read: {error}") from error
    if not paths:
        raise DatasetError(f"{folder}: expected images in it ({', '.join(SUFFIXES)}), found none")
    within = [path.relative_to(folder).parts for path in paths]
    labelled = all(len(parts) > 1 for parts in within)
    classes = tuple(parts[0] for parts in within) if labelled else ()
    return Images(folder, tuple(paths), classes)


def read_images(images: Images, shape: Shape, preprocessing: Preprocessing | None = None) -> Pixels:
    """Reads images and fits them to a shape.

    Args:
        images: see `find_images`.
        shape: `(H, W, C)`.
        preprocessing: how they are fitted.

    Raises:
        DatasetError: they take too much memory, or some cannot be read.
    """
    folder, paths = images.folder, images.paths
    if len(paths) * math.prod(shape) > MAX_BYTES:
        raise DatasetError(
            f"{folder}: expected at most {MAX_BYTES // math.prod(shape):,} images of {shape}, "
            f"found {len(paths):,}: a few hundred are good"
        )
    arrays, durations_ns, broken = [], [], []
    for path in paths:
        start = perf_counter_ns()
        try:
            arrays.append(read_image(path, shape, preprocessing or Preprocessing()))
        except TinsmithError as error:
            broken.append((path, error))
        durations_ns.append(perf_counter_ns() - start)
    if broken:
        others = [path.relative_to(folder).as_posix() for path, _ in broken[1:4]]
        also = f"; also {', '.join(others)}" if others else ""
        more = f" and {len(broken) - 4} more" if len(broken) > 4 else ""
        raise DatasetError(
            f"{len(broken)} of {len(paths)} images cannot be read: {broken[0][1]}{also}{more}"
        )
    return Pixels(np.stack(arrays), float(np.median(durations_ns)) / 1e3)


def load_folder(
    folder: Path, shape: Shape | None = None, preprocessing: Preprocessing | None = None
) -> Data:
    """Reads a folder; classes are in alphabetical order, as Keras reads them.

    Args:
        folder: see this module.
        shape: `(H, W, C)` that images are fitted to; if `None`, they must be of one size.
        preprocessing: how they are fitted.

    Raises:
        DatasetError: see `find_images` and `read_images`.
    """
    if shape is not None and len(shape) != 3:
        raise DatasetError(
            f"{folder}: the model takes inputs of shape {shape}, which are no images"
        )
    images = find_images(folder)
    pixels = read_images(images, shape or common_shape(images.paths), preprocessing).array
    names = tuple(sorted(set(images.classes)))
    labels = np.array([names.index(name) for name in images.classes]) if names else None
    return Data(folder.resolve().name, Part(pixels, labels), None, names)


def common_shape(paths: Sequence[Path]) -> Shape:
    """The size of all images, and 3 channels if one of them has colours, else 1."""
    first, channels = None, 1
    for path in paths:
        height, width, depth = _shape_of(path)
        first = first or (height, width)
        if (height, width) != first:
            raise DatasetError(
                f"{path}: expected images of one size, {first[1]} x {first[0]}, got "
                f"{width} x {height}: resize them"
            )
        channels = max(channels, depth)
    return (*(first or ()), channels)


def _shape_of(path: Path) -> Shape:
    """What a file says of its size, without decoding it."""
    if path.suffix.lower() == ".npy":
        shape = read_npy(path).shape
        if len(shape) not in (2, 3):
            raise DatasetError(f"{path}: expected pixels (H, W) or (H, W, C), got {shape}")
        return (*shape, 1)[:3]
    try:
        from PIL import Image

        data = read_regular(path, MAX_FILE_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size, which `read_image` checks
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                upright = image.getexif().get(_ORIENTATION, 1) < 5
                width, height = image.size if upright else image.size[::-1]
                return height, width, 1 if image.mode in ("1", "L", "LA") else 3
    except ImportError as error:
        raise DatasetError(
            f"{path}: PNG and JPEG need Pillow: pip install 'tinsmith[compile]'"
        ) from error
    except OSError as error:
        said = error.strerror or "expected a PNG or JPEG"
        raise DatasetError(f"{path}: {said}") from error
    except Exception as error:  # which one depends on the byte that is damaged
        raise DatasetError(f"{path}: expected a PNG or JPEG: {error}") from error


_ORIENTATION = 0x0112  # EXIF 3.0, 4.6.5.1.6: from 5 on, the image lies on its side
