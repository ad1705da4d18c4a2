"""From what people have (a path, bytes, a Pillow image, an array) to `uint8 (H, W, C)`."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "NDArray[Any] | str | Path | bytes | Image"


def read_image(image: Picture, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Brings one image to the model's input.

    Args:
        image: `uint8 (H, W)` or `(H, W, C)` of exactly the model's size; or a path to, or the
            bytes of, a PNG or JPEG, or a Pillow image: those are resized and turned to grey or
            RGB as the model wants. A path that ends in `.npy` holds an array.
        shape: the model's `(H, W, C)`.

    Returns:
        `uint8 (H, W, C)`.

    Raises:
        InputError: the shape, dtype or content does not fit.
        UsageError: there is no such file, or Pillow is needed and not installed.
    """
    if isinstance(image, str | Path) and Path(image).suffix == ".npy":
        image = _read_npy(Path(image))
    if not isinstance(image, np.ndarray):
        image = _decode(image, shape)
    if image.shape == shape[:2] and shape[2] == 1:
        image = image[..., np.newaxis]
    return check_pixels(image, shape)


def check_pixels(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns `array` if it is `uint8` of `shape`, else raises an `InputError` that says why."""
    if array.dtype != np.uint8:
        nan = " with NaN" if array.dtype.kind == "f" and np.isnan(array).any() else ""
        raise InputError(f"image: expected uint8 pixels 0..255, got {array.dtype}{nan}")
    if array.shape != shape:
        raise InputError(f"image: expected shape {shape}, got {array.shape}")
    return array


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: expected a .npy array: {error}") from error
    return array


def _decode(image: "str | Path | bytes | Image", shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise UsageError(
            "PNG and JPEG need Pillow: pip install 'tinsmith-runtime[images]' "
            "(a .npy file of uint8 pixels needs nothing)"
        ) from error
    name = "image" if isinstance(image, bytes | Image.Image) else str(image)
    try:
        if not isinstance(image, Image.Image):
            image = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
        height, width, channels = shape
        mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
        if mode is None:
            raise InputError(f"{name}: the model wants {channels} channels: pass an array")
        resized = image.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise InputError(f"{name}: expected a PNG or JPEG: {error}") from error
    return np.asarray(resized, np.uint8).reshape(shape)
