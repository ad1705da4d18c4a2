"""From what people have (a path, bytes, a Pillow image, an array) to `uint8 (H, W, C)`."""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.errors import InputError, UsageError
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.inputs.placement import Placement, place
from tinsmith_runtime.npy import read_npy

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

Picture: TypeAlias = "NDArray[Any] | str | Path | bytes | Image"

MAX_FILE_BYTES = 1 << 27
"""What a PNG or JPEG file may take: 128 MiB."""

# The largest camera made for a Raspberry Pi has 9152 x 6944. Pillow takes 4 bytes for each, twice
# while it makes one picture of another, and 8 more to decode a JPEG of several scans.
MAX_PIXELS = 1 << 26
"""Pixels that a PNG or JPEG may have, 67 million; a JPEG of several scans half as many."""

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MAX_SCANS = 64
"""How often a JPEG may go over its picture; encoders make about ten scans at most."""

_MAX_PARTS = 100_000  # chunks or segments: with the usual 8 kB each, 800 MB
# Any marker but those inside a scan: an escaped 0xff and the restarts (ITU T.81, B.1.1.2).
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SOI, _SOS, _EOI, _TEM = b"\xd8", b"\xda", b"\xd9", b"\x01"
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ORIENTATION = 0x0112  # EXIF 3.0, 4.6.5.1.6
_TURNED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
           6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
_DEFAULT = Preprocessing()
# What Pillow raises on a damaged file, depending on which byte it is; of less than damage it warns,
# which is an error where Python is told so.
_TROUBLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError,
            AssertionError, AttributeError, OverflowError, MemoryError, RecursionError,
            struct.error, Warning)  # fmt: skip


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
    return read_photo(image, shape, preprocessing, name)[0]


def read_photo(
    image: Picture,
    shape: tuple[int, ...],
    preprocessing: Preprocessing = _DEFAULT,
    name: str = "image",
) -> tuple[NDArray[np.uint8], Placement]:
    """Does what `read_image` does, and says where in the input the photo lies.

    The photo's pixels are counted upright, as EXIF says; those of an array are the input's own.
    """
    size = shape[1], shape[0]
    placement = place(size, size, "stretch")
    if isinstance(image, str | PathLike):
        name = str(image)
        if name.lower().endswith(".npy"):
            image = read_npy(image)
    if not isinstance(image, np.ndarray):
        if shape[2] not in _MODES:
            raise InputError(f"{name}: the model wants {shape[2]} channels: pass an array")
        with _decoding(name):
            photo = _upright(name, image, _MODES[shape[2]])
            if preprocessing.invert:
                photo = _inverted(photo)
            placement = place(photo.size, size, preprocessing.fit)
            fitted = _fit(photo, size, preprocessing, placement)
            image = np.asarray(fitted, np.uint8).reshape(shape)
    if image.shape == shape[:2] and shape[2] == 1:
        image = image[..., np.newaxis]
    check_pixels(name, image, shape)
    return image, placement


def open_photo(image: Picture, name: str = "image") -> "Image":
    """Opens an image to be drawn on: upright, in RGB; what is taken and raised is `read_image`'s.

    An array is `uint8 (H, W)`, or `(H, W, C)` of one, three or four channels.
    """
    if isinstance(image, str | PathLike):
        name = str(image)
        if name.lower().endswith(".npy"):
            image = read_npy(image)
    with _decoding(name):
        from PIL import Image

        if isinstance(image, np.ndarray):
            if image.ndim == 3 and image.shape[2] == 1:
                image = image[..., 0]
            return Image.fromarray(image).convert("RGB")
        return _upright(name, image, "RGB")


def check_pixels(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raises an `InputError` unless `array` is `uint8` of `shape`."""
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, got {array.shape}")
    if array.dtype != np.uint8:
        nan = " with NaN" if array.dtype.kind == "f" and np.isnan(array).any() else ""
        raise InputError(f"{name}: expected uint8 pixels 0..255, got {array.dtype}{nan}")


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Makes an error that begins with a name of what Pillow raises, or of its absence."""
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"{name}: PNG and JPEG need Pillow: pip install 'tinsmith-runtime[images]' "
            "(a .npy file of uint8 pixels needs nothing)"
        ) from error
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error
    except _TROUBLE as error:
        said = isinstance(error, OSError) and error.strerror
        raise InputError(f"{name}: {said or f'expected a PNG or JPEG: {error}'}") from error


def _upright(name: str, image: "str | Path | bytes | Image", mode: str) -> "Image":
    """Opens an image, turns it upright and makes it of one of Pillow's modes."""
    from pathlib import Path

    from PIL import Image

    if not isinstance(image, str | Path | bytes | Image.Image):
        raise InputError(
            f"{name}: expected an array, a path, the bytes of a PNG or JPEG, or a Pillow image; "
            f"got {type(image).__name__}"
        )
    turned = None
    if isinstance(image, str | Path):
        image = read_regular(image, MAX_FILE_BYTES)
    if isinstance(image, bytes):
        image = _open(name, image)
        turned = _TURNED.get(image.getexif().get(_ORIENTATION, 1))
    if image.mode.startswith(("I", "F")):
        # Pillow would cut their values off at 255.
        raise InputError(f"{name}: expected 8 bits a channel, got Pillow's mode {image.mode}")
    image = image if image.mode == mode else image.convert(mode)
    # A camera held upright says so in the file.
    return image.transpose(Image.Transpose[turned]) if turned else image


def _open(name: str, data: bytes) -> "Image":
    """Opens a file's content, not decoded; some of Pillow's other formats start programs."""
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    if not data.startswith((PNG, JPEG)):
        raise InputError(f"{name}: expected a PNG or JPEG")
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{name}: expected at most {MAX_FILE_BYTES} bytes, got more")
    limit = MAX_PIXELS if count_scans(data) <= 1 else MAX_PIXELS // 2
    # Not by `Image.open`, which warns of large images before it can be asked for their size.
    image = (PngImageFile if data.startswith(PNG) else JpegImageFile)(io.BytesIO(data))
    width, height = image.size
    if width * height > limit:
        raise InputError(f"{name}: expected at most {limit:,} pixels, got {width} x {height}")
    return image


def _inverted(image: "Image") -> "Image":
    alpha = list(range(256)) if image.mode == "RGBA" else []
    colors = len(image.getbands()) - bool(alpha)
    return image.point(list(range(255, -1, -1)) * colors + alpha)


def _fit(
    photo: "Image", size: tuple[int, int], preprocessing: Preprocessing, placement: Placement
) -> "Image":
    from PIL import Image

    left, top, right, bottom = placement.filled
    filter_ = Image.Resampling[preprocessing.resampling.upper()]
    fitted = photo.resize((right - left, bottom - top), filter_, box=placement.seen)
    if fitted.size == size:
        return fitted
    canvas = Image.new(photo.mode, size, (preprocessing.padding,) * len(photo.getbands()))
    canvas.paste(fitted, (left, top))
    return canvas


def count_scans(data: bytes) -> int:
    """How often the decoder of a PNG or JPEG goes over the picture: of more than once it holds all.

    Their decoders take whatever time and memory a file asks for: a JPEG of some kilobytes may have
    thousands of scans, and a file of a million empty parts becomes a million objects.

    Raises:
        ValueError: that, or the number of its parts, is more than any picture has.
    """
    return _check_png(data) if data.startswith(PNG) else _check_jpeg(data)


def _check_png(data: bytes) -> int:
    position = len(PNG)
    for _ in range(_MAX_PARTS):
        if position >= len(data):
            return 1
        # Its length, its name of 4 bytes, its content and a checksum of 4.
        position += 12 + int.from_bytes(data[position : position + 4])
    raise ValueError(f"expected at most {_MAX_PARTS} chunks")


def _check_jpeg(data: bytes) -> int:
    position = scans = 0
    for _ in range(_MAX_PARTS):
        found = _MARKER.search(data, position)
        if found is None or found[1] == _EOI:
            return scans
        position = found.end()
        if found[1] not in (_SOI, _TEM):
            position += int.from_bytes(data[position : position + 2])
        scans += found[1] == _SOS
        if scans > MAX_SCANS:
            raise ValueError(f"expected at most {MAX_SCANS} scans")
    raise ValueError(f"expected at most {_MAX_PARTS} segments")
