"""Folders of photos: no near-duplicates on both sides, read once, broken files named."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tinsmith_data import Dataset, DatasetError, load_dataset
from tinsmith_data.similar import divide_groups, near_duplicates
from tinsmith_runtime.inputs.image import read_image

CLASSES = ("cat", "dog", "owl")


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Something with as much structure as a photo: 8 by 8 random colours, made smooth."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def fill(folder: Path, count: int = 10) -> Path:
    """So many photos a class, as JPEG."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            photo(100 * number + index).save(folder / name / f"{index:02}.jpg")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("data") / "photos")


def rows(dataset: Dataset) -> tuple[set[bytes], set[bytes]]:
    """The images of both parts."""
    parts = (dataset.x_train, dataset.x_test)
    return tuple({image.tobytes() for image in part} for part in parts)  # type: ignore[return-value]


def test_a_fifth_of_each_class_is_for_testing(photos: Path) -> None:
    dataset = load_dataset(str(photos))
    assert dataset.x_train.shape == (24, 96, 96, 3), "photos are 96 by 96 if nobody says"
    assert dataset.labels == CLASSES
    assert np.bincount(dataset.y_train).tolist() == [8, 8, 8]
    assert np.bincount(dataset.y_test).tolist() == [2, 2, 2]
    assert load_dataset(str(photos)).sha256 == dataset.sha256
    assert load_dataset(str(photos), seed=1).sha256 != dataset.sha256


def test_size_and_colours(photos: Path, tmp_path: Path) -> None:
    assert load_dataset(str(photos), size=40, grey=True).x_test.shape == (6, 40, 40, 1)
    for index in range(20):
        path = tmp_path / "small" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(index, (30, 20)).convert("L").save(path)
    small = str(tmp_path / "small")
    assert load_dataset(small).x_test.shape[1:] == (20, 30, 1), "small images of one size keep it"
    for source in ("digits", "own.npz"):
        if source == "own.npz":
            np.savez(tmp_path / source, x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 2)
            source = str(tmp_path / source)
        with pytest.raises(DatasetError, match=r"--size is for a folder of images: --data .* is "):
            load_dataset(source, size=40)
        with pytest.raises(DatasetError, match="--grey is for a folder of images"):
            load_dataset(source, grey=True)


def test_near_duplicates_are_on_one_side(tmp_path: Path) -> None:
    """Each photo also smaller, brighter and as a poor JPEG."""
    for index in range(20):
        original = photo(index)
        forms = (
            original,
            original.resize((80, 60)),
            ImageEnhance.Contrast(original).enhance(0.8),
        )
        for number, image in enumerate(forms):
            path = tmp_path / "ab"[index % 2] / f"{index}-{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            image.save(path, quality=(95, 80, 40)[number])
    dataset = load_dataset(str(tmp_path), seed=3, size=16)
    assert len(dataset.x_test) == 12

    def near(image: np.ndarray, others: np.ndarray) -> bool:
        return bool(np.abs(others.astype(int) - image).mean(axis=(1, 2, 3)).min() < 12)

    assert all(
        near(image, dataset.x_test[np.arange(12) != i]) for i, image in enumerate(dataset.x_test)
    )
    assert not any(near(image, dataset.x_train) for image in dataset.x_test)


def test_a_division_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "train", 5)
    fill(tmp_path / "test", 1)  # the same photos again
    for name in CLASSES[1:]:
        photo(9).save(tmp_path / "test" / name / "00.jpg")
    dataset = load_dataset(str(tmp_path), size=32)
    assert (len(dataset.x_train), len(dataset.x_test)) == (15, 3)
    assert dataset.labels == CLASSES
    assert "1 of 3 test images are nearly the same as training images" in capsys.readouterr().err


def test_broken_files_are_named_and_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(tmp_path / "photos", 6)
    (folder / "cat" / "00.jpg").write_bytes(b"no image")
    whole = (folder / "dog" / "01.jpg").read_bytes()
    (folder / "dog" / "01.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = load_dataset(str(folder), size=24)
    assert len(dataset.x_train) + len(dataset.x_test) == 16
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "tinsmith: 2 of 18 images cannot be read and are left out: " in said
    assert "00.jpg: expected a PNG or JPEG; also dog/01.jpg" in said
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"18 of 18 images cannot be read: .* and 14 more"):
        load_dataset(str(folder), size=24)


def test_a_photo_taken_upright_is_turned(tmp_path: Path) -> None:
    fill(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = photo(7, (40, 40))
    buffer = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    for path in sorted((tmp_path / "cat").iterdir())[1:]:
        path.unlink()
    (tmp_path / "cat" / "00.jpg").write_bytes(buffer.getvalue())  # the one cat is for training
    dataset = load_dataset(str(tmp_path), size=40)
    assert dataset.y_test.min() > 0
    np.testing.assert_array_equal(dataset.x_train[dataset.y_train == 0][0], np.asarray(upright))


def test_images_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("TINSMITH_CACHE", str(cache))
    folder = fill(tmp_path / "photos")
    first = load_dataset(str(folder), size=24)
    (kept,) = cache.iterdir()
    decoded: list[Path] = []

    def read(path: Path, *rest: Any) -> Any:
        decoded.append(path)
        return read_image(path, *rest)

    monkeypatch.setattr("tinsmith_data.images.read_image", read)
    assert load_dataset(str(folder), size=24).sha256 == first.sha256
    assert decoded == []
    changed = folder / "owl" / "03.jpg"
    photo(999).save(changed)
    os.utime(changed, ns=(1, 1))
    assert load_dataset(str(folder), size=24).sha256 != first.sha256
    assert set(decoded) == {changed}
    # Whatever stands in the cache's place: the images are read, and the cache is written anew.
    whole = kept.read_bytes()
    pickled = io.BytesIO()
    np.savez(pickled, stamps=np.array([print], object), pixels=np.zeros(1), thumbnails=np.zeros(1))
    for content in (b"", whole[:-9], whole.replace(b"|u1", b"|i1"), pickled.getvalue()):
        kept.write_bytes(content)
        decoded.clear()
        assert load_dataset(str(folder), size=24).labels == CLASSES
        assert len(set(decoded)) == 30
        assert len(kept.read_bytes()) == len(whole)
    kept.unlink()
    kept.mkdir()
    assert load_dataset(str(folder), size=24).labels == CLASSES


@given(
    classes=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    groups=st.lists(st.integers(0, 40), min_size=60, max_size=60),
    seed=st.integers(0, 5),
)
def test_any_division(classes: list[str], groups: list[int], seed: int) -> None:
    numbers = np.array(groups[: len(classes)])
    train, test = divide_groups(classes, numbers, seed)
    assert sorted([*train, *test]) == list(range(len(classes)))
    assert not set(numbers[train]) & set(numbers[test])
    for name in set(classes):
        count, kept = classes.count(name), [classes[index] for index in test].count(name)
        assert kept <= max(count // 5, 1)
        assert kept < count


def test_digits_are_not_near_duplicates(digits: Dataset) -> None:
    """Handwritten ones are alike, and still must not become one group."""
    ones = digits.x_train[digits.y_train == 1]
    thumbnails = [
        np.asarray(Image.fromarray(one[..., 0]).resize((16, 16), Image.Resampling.BOX)).ravel()
        for one in ones
    ]
    groups = near_duplicates(np.stack(thumbnails))
    assert np.bincount(groups).max() < 0.1 * len(ones)
