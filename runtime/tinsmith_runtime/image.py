"""From what people have (a path, bytes, a Pillow image, an array) to `uint8 (H, W, C)`."""

import io
from os import PathLike
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import InputError, UsageError
from tinsmith_runtime.manifest import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

Picture: TypeAlias = "NDArray[Any] | str | Path | bytes | Image"

# The formats that are decoded; some of Pillow's others start foreign programs.
_FORMATS = ("PNG", "JPEG")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_DEFAULT = Preprocessing()
# What Pillow and numpy raise on a damaged file, depending on which byte it is; of less than damage
# Pillow warns, which is an error where Python is told so.
_TROUBLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, OverflowError,
            MemoryError, RecursionError, TokenError, Warning)  # fmt: skip


def read_image(
    image: Picture,
    shape: tuple[int, ...],
    preprocessing: Preprocessing = _DEFAULT,
    name: str = "image",
) -> NDArray[np.uint8]:
    """Brings one image to the model's input.

    Args:
        image: `uint8 (H, W)` or `(H, W, C)` of exactly the model's size; or a path to, or the
            bytes of, a PNG or JPEG, or a Pillow image: those are turned to grey or RGB as the
            model wants, and fitted to its size. A path that ends in `.npy` holds an array.
        shape: the model's `(H, W, C)`.
        preprocessing: how those are fitted.
        name: what an error calls the image; a path has its own name.

    Returns:
        `uint8 (H, W, C)`.

    Raises:
        InputError: the shape, dtype or content does not fit.
        UsageError: there is no such file, or Pillow is needed and not installed.
    """
    if isinstance(image, str | PathLike):
        name = str(image)
        if name.lower().endswith(".npy"):
            image = read_npy(image)
    if not isinstance(image, np.ndarray):
        image = _decode(name, image, shape, preprocessing)
    if image.shape == shape[:2] and shape[2] == 1:
        image = image[..., np.newaxis]
    check_pixels(name, image, shape)
    return image


def check_pixels(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raises an `InputError` unless `array` is `uint8` of `shape`."""
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, got {array.shape}")
    if array.dtype != np.uint8:
        nan = " with NaN" if array.dtype.kind == "f" and np.isnan(array).any() else ""
        raise InputError(f"{name}: expected uint8 pixels 0..255, got {array.dtype}{nan}")


def read_npy(path: "str | PathLike[str]") -> NDArray[Any]:
    """Maps the array of a `.npy` file.

    Raises:
        UsageError: there is no such file.
        InputError: it holds no plain array.
    """
    try:
        # A memory map never unpickles, and allocates nothing for a header that lies.
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except _TROUBLE as error:
        raise InputError(f"{path}: expected a .npy array: {error}") from error


def _decode(
    name: str,
    image: "str | Path | bytes | Image",
    shape: tuple[int, ...],
    preprocessing: Preprocessing,
) -> NDArray[Any]:
    try:
        from pathlib import Path

        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise UsageError(
            f"{name}: PNG and JPEG need Pillow: pip install 'tinsmith-runtime[images]' "
            "(a .npy file of uint8 pixels needs nothing)"
        ) from error
    channels = shape[2]
    if channels not in _MODES:
        raise InputError(f"{name}: the model wants {channels} channels: pass an array")
    if not isinstance(image, str | Path | bytes | Image.Image):
        raise InputError(
            f"{name}: expected an array, a path, the bytes of a PNG or JPEG, or a Pillow image; "
            f"got {type(image).__name__}"
        )
    try:
        if isinstance(image, str | Path):
            image = Path(image).read_bytes()
        if isinstance(image, bytes):
            image = Image.open(io.BytesIO(image), formats=_FORMATS)
            image = ImageOps.exif_transpose(image)  # a camera held upright says so there
        if image.mode.startswith(("I", "F")):
            # Pillow would cut their values off at 255.
            raise InputError(f"{name}: expected 8 bits a channel, got Pillow's mode {image.mode}")
        fitted = _fit(image.convert(_MODES[channels]), (shape[1], shape[0]), preprocessing)
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: expected a PNG or JPEG") from error
    except (*_TROUBLE, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: expected a PNG or JPEG: {error}") from error
    return np.asarray(fitted, np.uint8).reshape(shape)


def _fit(image: "Image", size: tuple[int, int], preprocessing: Preprocessing) -> "Image":
    from PIL import Image, ImageOps

    if preprocessing.invert:
        alpha = list(range(256)) if image.mode == "RGBA" else []
        colors = len(image.getbands()) - bool(alpha)
        image = image.point(list(range(255, -1, -1)) * colors + alpha)
    filter_ = Image.Resampling[preprocessing.resampling.upper()]
    if preprocessing.fit == "contain":
        return ImageOps.pad(image, size, filter_)
    if preprocessing.fit == "crop":
        return ImageOps.fit(image, size, filter_)
    return image.resize(size, filter_)
