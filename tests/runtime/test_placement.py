"""Where a photo lies in the model's input: as Pillow fits it, and exactly back from there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.inputs.image import read_photo
from tinsmith_runtime.inputs.placement import place

side = st.integers(1, 70)


@pytest.mark.not_on_a_board(reason="Debian's Pillow 9.4 rounds where the border is otherwise")
@settings(deadline=None)
@given(side, side, side, side, st.sampled_from(["stretch", "contain", "crop"]), st.integers(0, 255))
def test_pixels_are_those_of_pillow(
    width: int, height: int, columns: int, rows: int, fit: str, padding: int
) -> None:
    rng = np.random.default_rng(width * height)
    photo = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    rules = Preprocessing(fit=fit, padding=padding)
    found, placement = read_photo(photo, (rows, columns, 3), rules)
    bilinear, color = Image.Resampling.BILINEAR, (padding,) * 3
    if min(round(width / height * rows), round(height / width * columns)) == 0 and fit == "contain":
        return  # Pillow leaves nothing of it
    wanted = {
        "stretch": lambda: photo.resize((columns, rows), bilinear),
        "contain": lambda: ImageOps.pad(photo, (columns, rows), bilinear, color),
        "crop": lambda: ImageOps.fit(photo, (columns, rows), bilinear),
    }[fit]()
    assert np.array_equal(found, np.asarray(wanted))
    assert placement.photo == (width, height)


@given(side, side, side, side, st.sampled_from(["stretch", "contain", "crop"]))
def test_there_and_back(width: int, height: int, columns: int, rows: int, fit: str) -> None:
    placement = place((width, height), (columns, rows), fit)
    (left, top, right, bottom), filled = placement.seen, np.array(placement.filled)
    assert 0 <= left < right <= width + 1e-9
    assert 0 <= top < bottom <= height + 1e-9
    assert (filled >= 0).all()
    assert (filled <= (columns, rows, columns, rows)).all()
    back = placement.to_photo(filled[np.newaxis].astype(np.float64))[0]
    assert back == pytest.approx((left, top, right, bottom), abs=1e-9)
    middle = (filled[:2] + filled[2:]) / 2
    back = placement.to_photo(np.array([[*middle, *middle]]))[0]
    assert back == pytest.approx([(left + right) / 2, (top + bottom) / 2] * 2, abs=1e-9)
    far = np.array([[-1e9, -1e9, 1e9, 1e9]])
    assert placement.to_photo(far)[0].tolist() == [0, 0, width, height]


@pytest.mark.parametrize("fit", ["stretch", "contain", "crop"])
@pytest.mark.parametrize("size", [(640, 400), (400, 640), (512, 512)])
def test_a_mark_is_found_where_it_is(fit: str, size: tuple[int, int]) -> None:
    """What the pixels show at a place of the input is at the place of the photo that it says."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    box = (size[0] * 0.4, size[1] * 0.3, size[0] * 0.7, size[1] * 0.5)
    pixels[round(box[1]) : round(box[3]), round(box[0]) : round(box[2])] = 255
    rules = Preprocessing(fit=fit, resampling="box", padding=0)
    found, placement = read_photo(Image.fromarray(pixels), (128, 128, 1), rules)
    rows, columns = np.nonzero(found[..., 0] > 127)
    seen = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    # To half a pixel of the input, 5 of the photo at most.
    assert placement.to_photo(np.array(seen, float))[0] == pytest.approx(box, abs=2.5)


def test_the_border_in_every_channel() -> None:
    for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4)):
        photo, rules = Image.new(mode, (8, 4)), Preprocessing(fit="contain", padding=114)
        found = read_photo(photo, (8, 8, channels), rules)[0]
        assert (found[:2] == 114).all()
        assert (found[6:] == 114).all()
        assert (found[2:6] == 0).all()
