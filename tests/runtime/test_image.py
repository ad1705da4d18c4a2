import io
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import InputError, TinsmithError, UsageError
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.inputs.image import read_image

GREY = (8, 8, 1)
RGB = (8, 8, 3)


def _encode(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 100} if form == "JPEG" else {}))
    return buffer.getvalue()


@pytest.fixture
def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[0, ..., 0])


def test_arrays(pixels: NDArray[np.uint8]) -> None:
    for array in (pixels[0], pixels[0, ..., 0]):
        np.testing.assert_array_equal(read_image(array, GREY), pixels[0])


def test_same_pixels_whatever_they_come_in(
    pixels: NDArray[np.uint8], picture: Image.Image, tmp_path: Path
) -> None:
    picture.save(tmp_path / "x.png")
    np.save(tmp_path / "x.npy", pixels[0])
    np.save(tmp_path / "y.npy", pixels[0, ..., 0])
    (tmp_path / "y.npy").rename(tmp_path / "y.NPY")
    for image in (
        picture,
        _encode(picture, "PNG"),
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        tmp_path / "x.npy",
        str(tmp_path / "y.NPY"),
    ):
        np.testing.assert_array_equal(read_image(image, GREY), pixels[0])


def test_jpeg(pixels: NDArray[np.uint8], picture: Image.Image) -> None:
    # JPEG loses something, at its best quality not more than a few grey levels.
    found = read_image(_encode(picture, "JPEG"), GREY)
    np.testing.assert_allclose(found.astype(int), pixels[0], atol=4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_any_mode_becomes_the_models(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    assert read_image(image, GREY).min() > 250
    assert read_image(image, RGB).shape == RGB
    assert read_image(image, (8, 8, 4)).shape == (8, 8, 4)


def test_another_size_is_resized() -> None:
    assert read_image(Image.new("L", (300, 200), 77), GREY).tolist() == [[[77]] * 8] * 8


def test_a_camera_that_was_held_upright(picture: Image.Image) -> None:
    """A photo is turned as its EXIF says; a Pillow image is taken as it is."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation: turn it clockwise
    picture.save(buffer, "PNG", exif=exif)
    turned = np.rot90(np.asarray(picture), -1)
    np.testing.assert_array_equal(read_image(buffer.getvalue(), GREY)[..., 0], turned)
    opened = Image.open(buffer)
    np.testing.assert_array_equal(read_image(opened, GREY)[..., 0], np.asarray(picture))


@pytest.fixture
def wide() -> Image.Image:
    """Black, with a white square in the middle third of its width."""
    image = Image.new("L", (24, 8))
    image.paste(255, (8, 0, 16, 8))
    return image


def _rows(image: Image.Image, shape: tuple[int, ...], **rules: Any) -> list[list[int]]:
    found = read_image(image, shape, Preprocessing(**{"resampling": "box", **rules}))
    assert found.shape == shape
    rows: list[list[int]] = found[..., 0].tolist()
    return rows


def test_fit(wide: Image.Image) -> None:
    stretched = [[0, 0, 85, 255, 255, 85, 0, 0]] * 8
    assert _rows(wide, GREY) == _rows(wide, GREY, fit="stretch") == stretched
    assert _rows(wide, GREY, fit="crop") == [[255] * 8] * 8
    row, nothing = [0, 0, 85, 255, 255, 85, 0, 0], [0] * 8
    assert _rows(wide, GREY, fit="contain") == [nothing] * 2 + [row] * 3 + [nothing] * 3
    tall = wide.transpose(Image.Transpose.TRANSPOSE)
    columns = np.array(_rows(wide, GREY, fit="contain")).T.tolist()
    assert _rows(tall, GREY, fit="contain") == columns
    for fit in ("stretch", "crop", "contain"):
        assert read_image(Image.new("L", (1, 5000)), RGB, Preprocessing(fit=fit)).shape == RGB


def test_invert(wide: Image.Image, pixels: NDArray[np.uint8]) -> None:
    """Before the padding, which is black all the same; arrays are raw pixels and stay."""
    assert _rows(wide, GREY, fit="crop", invert=True) == [[0] * 8] * 8
    assert _rows(wide, GREY, fit="contain", invert=True)[0] == [0] * 8
    assert _rows(wide, GREY, fit="contain", invert=True)[3] == [255, 255, 170, 0, 0, 170, 255, 255]
    assert _rows(wide, RGB, invert=True) == [[255, 255, 170, 0, 0, 170, 255, 255]] * 8
    found = read_image(pixels[0], GREY, Preprocessing(invert=True))
    np.testing.assert_array_equal(found, pixels[0])
    glass = Image.new("RGBA", (8, 8), (10, 20, 30, 40))
    found = read_image(glass, (8, 8, 4), Preprocessing(invert=True))
    assert found[0, 0].tolist() == [245, 235, 225, 40]


def test_resampling(wide: Image.Image) -> None:
    found = {
        name: str(_rows(wide.resize((31, 9)), GREY, resampling=name))
        for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    }
    assert len(set(found.values())) == 6


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_8_bits_is_refused(mode: str) -> None:
    """Pillow would make white of everything above 255."""
    with pytest.raises(InputError, match=f"8 bits a channel, got Pillow's mode {mode}"):
        read_image(Image.new(mode, (8, 8)), GREY)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 9), np.uint8), r"image: expected shape \(8, 8, 1\), got \(8, 9\)"),
        (np.zeros((1, 8, 8, 1), np.uint8), r"got \(1, 8, 8, 1\)"),
        (np.zeros((8, 8, 3), np.uint8), r"got \(8, 8, 3\)"),
        (np.zeros((), np.uint8), r"got \(\)"),
        (np.zeros((8, 8)), "expected uint8 pixels 0..255, got float64$"),
        (np.full((8, 8), np.nan), "got float64 with NaN"),
        (np.zeros((8, 8), np.int8), "got int8"),
        (np.zeros((8, 8), bool), "got bool"),
        (np.zeros((8, 8), object), "got object"),
    ],
)
def test_wrong_array(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_image(array, GREY)


def test_grey_array_into_a_colour_model() -> None:
    with pytest.raises(InputError, match=r"expected shape \(8, 8, 3\), got \(8, 8\)"):
        read_image(np.zeros((8, 8), np.uint8), RGB)


@pytest.mark.parametrize("image", [None, 7, [[0]], bytearray(b"x"), object()])
def test_wrong_type(image: object) -> None:
    with pytest.raises(InputError, match="image: expected an array, a path, the bytes of a PNG"):
        read_image(image, GREY)  # type: ignore[arg-type]


def test_model_with_other_channels(picture: Image.Image) -> None:
    with pytest.raises(InputError, match="the model wants 2 channels: pass an array"):
        read_image(picture, (8, 8, 2))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"%!PS-Adobe"])
def test_bytes_of_something_else(data: bytes) -> None:
    with pytest.raises(InputError, match="image: expected a PNG or JPEG"):
        read_image(data, GREY)


def test_bad_paths(tmp_path: Path) -> None:
    for name in ("x.png", "x.npy"):
        with pytest.raises(UsageError, match=rf"{name}: no such file"):
            read_image(tmp_path / name, GREY)
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=rf"{name}: expected a file, found a folder"):
            read_image(tmp_path / name, GREY)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png: expected a PNG or JPEG$"):
        read_image(tmp_path / "text.png", GREY)


class Bomb:
    """Ends the test run if it is ever unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.exit, ("a pickle was loaded",)


def test_npy_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match=r"x\.npy: expected a \.npy array: .*Python objects"):
        read_image(path, GREY)


def test_other_content_in_npy(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"x\.npy: expected shape \(8, 8, 1\), got \(9, 9\)"):
        read_image(path, GREY)
    with path.open("wb") as stream:
        np.savez(stream, np.zeros(GREY, np.uint8))
    with pytest.raises(InputError, match=r"x\.npy: expected a \.npy array"):
        read_image(path, GREY)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.npy: expected a \.npy array"):
        read_image(path, GREY)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "npy"])
def test_damaged_file_never_crashes(
    form: str, picture: Image.Image, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / ("x.npy" if form == "npy" else "x")
    if form == "npy":
        np.save(path, pixels[0])
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(path, form, exif=exif)
    data, chance = path.read_bytes(), random.Random(0)
    messages = []
    for _ in range(1000):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 5)):
            changed[chance.randrange(len(data))] = chance.choice(b"\x00\xff({[,'<|1")
        path.write_bytes(changed[: chance.randrange(1, len(data) * 2)])
        try:
            assert read_image(path, GREY).shape == GREY
        except TinsmithError as error:
            messages.append(str(error))
    assert messages
    assert all(message.startswith(str(path)) for message in messages)


def test_without_pillow(
    monkeypatch: pytest.MonkeyPatch, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.save(tmp_path / "x.npy", pixels[0])
    assert read_image(tmp_path / "x.npy", GREY).shape == GREY
    assert read_image(pixels[0], GREY).shape == GREY
    with pytest.raises(UsageError, match=r"pip install 'tinsmith-runtime\[images\]'"):
        read_image(tmp_path / "x.png", GREY)
