"""Folders of images: `FOLDER/CLASS/*.png`, or images without labels.

Every image below the folder counts. Where none lies in the folder itself, the folders in it name
the classes. Two folders `train` and `test`, with folders of classes in each, are a division of
one's own.
"""

import io
import sys
from pathlib import Path

import numpy as np

from tinsmith_data.data import LEAST, Data, Part
from tinsmith_data.errors import DatasetError
from tinsmith_data.images import Images, Indices, Pixels, Shape, in_parallel, read_images
from tinsmith_data.similar import divide_groups, near_duplicates
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.errors import TinsmithError, printable
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.inputs.image import MAX_FILE_BYTES, PNG
from tinsmith_runtime.npy import read_npy

SUFFIXES = (".jpeg", ".jpg", ".npy", ".png")
PARTS = ("train", "test")
SIZE = 96
"""Height and width of photos where nobody says them, in pixels."""

_MOST_KEPT = 128  # images of one size that are larger are photos: they get `SIZE`


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
    if {parts[0] for parts in within} == set(PARTS) and all(len(parts) > 2 for parts in within):
        is_test = tuple(parts[0] == "test" for parts in within)
        return Images(folder, tuple(paths), tuple(parts[1] for parts in within), is_test)
    labelled = all(len(parts) > 1 for parts in within)
    classes = tuple(parts[0] for parts in within) if labelled else ()
    return Images(folder, tuple(paths), classes)


def load_folder(
    folder: Path,
    shape: Shape | None = None,
    seed: int = 0,
    size: int | None = None,
    grey: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Data:
    """Reads a folder and divides it; classes are in alphabetical order, as Keras reads them.

    Args:
        folder: see this module.
        shape: `(H, W, C)` that images are fitted to. If `None`: images of one size up to 128 by
            128 keep it, others are fitted to 96 by 96; they are grey if all files are.
        seed: divides what nobody divided, see `divide_images`.
        size: height and width instead.
        grey: one channel, whatever the files have.
        preprocessing: how they are fitted.

    Raises:
        DatasetError: see `find_images`, `read_images` and `divide_images`.
    """
    if shape is not None and len(shape) != 3:
        raise DatasetError(
            f"{folder}: the model takes inputs of shape {shape}, which are no images"
        )
    images = find_images(folder)
    pixels = read_images(images, shape or common_shape(images.paths, size, grey), preprocessing)
    names = tuple(sorted(set(pixels.images.classes)))
    labels = np.array([names.index(name) for name in pixels.images.classes], np.int64)
    train, test = (
        Part(pixels.array[part], labels[part] if names else None)
        for part in divide_images(pixels, seed)
    )
    return Data(folder.resolve().name, test, train, names)


def divide_images(pixels: Pixels, seed: int) -> tuple[Indices, Indices]:
    """Divides images as their folders do, else a fifth of each class for testing.

    Near-duplicates are never on both sides. Where the user's own folders have some, it is said on
    standard error.

    Args:
        pixels: what was read.
        seed: chooses which images are for testing.

    Returns:
        The indices of the training and of the test images.

    Raises:
        DatasetError: there are too few to divide, or one of the two parts has none.
    """
    images, groups = pixels.images, near_duplicates(pixels.thumbnails)
    if images.is_test:
        is_test = np.array(images.is_test)
        if is_test.all() or not is_test.any():
            raise DatasetError(f"{images.folder}: expected images in {' and '.join(PARTS)}")
        both = int(np.isin(groups[is_test], groups[~is_test]).sum())
        if both:
            said = f"{both} of {is_test.sum()} test images are nearly the same as training images"
            print(printable(f"tinsmith: {images.folder}: {said}"), file=sys.stderr)
        order = np.random.default_rng(seed).permutation(len(is_test))
        return order[~is_test[order]], order[is_test[order]]
    if len(groups) < LEAST:
        raise DatasetError(
            f"{images.folder.resolve().name}: expected at least {LEAST} inputs, got {len(groups)}: "
            "a few hundred are good"
        )
    train, test = divide_groups(images.classes or [""] * len(groups), groups, seed)
    if not len(test):
        raise DatasetError(f"{images.folder}: all images are nearly the same: none can be a test")
    return train, test


def common_shape(paths: tuple[Path, ...], size: int | None = None, grey: bool = False) -> Shape:
    """What images are fitted to where no model says it; see `load_folder`."""
    found = [shape for shape in in_parallel(_shape_of, paths) if shape is not None]
    sizes = {shape[:2] for shape in found}
    channels = 1 if grey else max((shape[2] for shape in found), default=1)
    if size is None and len(sizes) == 1 and max(min(sizes)) <= _MOST_KEPT:
        return (*min(sizes), channels)
    size = size or SIZE
    return size, size, channels


def _shape_of(path: Path) -> Shape | None:
    """What a file says of its size, without decoding it; `None` if it is damaged."""
    if path.suffix.lower() == ".npy":
        try:
            shape = read_npy(path).shape
        except TinsmithError:
            return None
        return (*shape, 1)[:3] if len(shape) in (2, 3) else None
    try:
        from PIL.JpegImagePlugin import JpegImageFile
        from PIL.PngImagePlugin import PngImageFile

        data = read_regular(path, MAX_FILE_BYTES)
        # Not by `Image.open`, which warns of large images.
        opened = (PngImageFile if data.startswith(PNG) else JpegImageFile)(io.BytesIO(data))
        with opened as image:
            upright = image.getexif().get(_ORIENTATION, 1) < 5
            width, height = image.size if upright else image.size[::-1]
            return height, width, 1 if image.mode in ("1", "L", "LA") else 3
    except ImportError as error:
        raise DatasetError(
            f"{path}: PNG and JPEG need Pillow: pip install 'tinsmith[compile]'"
        ) from error
    except Exception:  # which one depends on the byte that is damaged; `read_images` names the file
        return None


_ORIENTATION = 0x0112  # EXIF 3.0, 4.6.5.1.6: from 5 on, the image lies on its side
