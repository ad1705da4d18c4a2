import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array, some
from numpy.typing import NDArray
from PIL import Image

from tinsmith_bench.samples import file_samples, find_samples
from tinsmith_runtime import InputError, Manifest, UsageError, read_bundle


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return read_bundle(bundle).manifest


IMAGES = np.zeros((6, 4, 4, 1), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("keys", [("x_test", "y_test"), ("x", "y")])
def test_a_file_is_read_under_either_pair_of_names(
    tmp_path: Path, manifest: Manifest, keys: tuple[str, str]
) -> None:
    path = tmp_path / "test.npz"
    arrays: dict[str, Any] = dict(zip(keys, (IMAGES, LABELS), strict=True))
    np.savez(path, **arrays)
    samples = find_samples([manifest], None, path, None)
    assert samples.name == "test.npz"
    assert len(samples.sha256) == 64
    assert some(samples.targets).dtype == np.int64
    np.testing.assert_array_equal(samples.targets, LABELS)


def test_images_without_a_channel_get_one(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, x=IMAGES[..., 0], y=LABELS)
    assert array(find_samples([manifest], None, path, None).inputs).shape == (6, 4, 4, 1)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, :3], LABELS, r"takes images uint8 \(4, 4, 1\), got uint8 \(3, 4, 1\)"),
        (IMAGES.astype(np.float32), LABELS, r"got float32 \(4, 4, 1\)"),
        (IMAGES.reshape(6, 16), LABELS, r"got uint8 \(16,\)"),
        (np.uint8(1), LABELS, r"got uint8 \(\)"),
        (IMAGES, LABELS[:4], r"one integer label for each of 6 images, got int64 \(4,\)"),
        (IMAGES, LABELS / 1, r"one integer label for each of 6 images, got float64 \(6,\)"),
        (IMAGES, np.eye(6, 3, dtype=int), r"got int64 \(6, 3\)"),
        (IMAGES[:0], LABELS[:0], "at least one sample, got none"),
        (IMAGES, LABELS + 1, "labels 0 to 2, got 1 to 3"),
        (IMAGES, LABELS - 1, "labels 0 to 2, got -1 to 1"),
    ],
)
def test_what_does_not_fit_the_bundle_is_refused(
    tmp_path: Path, manifest: Manifest, images: NDArray[Any], labels: NDArray[Any], message: str
) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, x=images, y=labels)
    with pytest.raises(InputError, match=message):
        find_samples([manifest], None, path, None)


def test_a_missing_array_names_those_expected(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, y_test=LABELS)
    with pytest.raises(InputError, match="expected an array x_test or x, and y_test or y"):
        file_samples(path, manifest)


@pytest.mark.parametrize("key", ["x", "x_test"])
def test_without_labels_there_are_no_targets(tmp_path: Path, manifest: Manifest, key: str) -> None:
    path = tmp_path / "test.npz"
    arrays: dict[str, Any] = {key: IMAGES}
    np.savez(path, **arrays)
    samples = find_samples([manifest], None, path, None)
    assert samples.targets is None
    assert len(samples.inputs) == 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in folders named like their classes: 0 in a, 1 in b; one of them a JPEG."""
    for name, label, level in (("a/1.png", "a", 10), ("a/2.jpg", "a", 20), ("b/1.PNG", "b", 30)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), level).save(path)
        assert label in name
    (tmp_path / "photos" / "b" / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


def test_a_folder_of_labelled_images_is_read(folder: Path, manifest: Manifest) -> None:
    samples = find_samples([manifest], None, folder, None)
    assert samples.name == "photos"
    assert array(samples.inputs).shape == (3, 4, 4, 1)
    assert some(samples.targets).tolist() == [0, 0, 1]
    assert array(samples.inputs)[:, 0, 0, 0].tolist() == pytest.approx([10, 20, 30], abs=1)  # JPEG
    assert some(samples.decode_us) > 0
    before = samples.sha256
    assert find_samples([manifest], None, folder, None).sha256 == before
    (folder / "b" / "1.PNG").rename(folder / "a" / "3.png")
    assert find_samples([manifest], None, folder, None).sha256 != before


def test_a_folder_without_classes_has_no_labels(folder: Path, manifest: Manifest) -> None:
    samples = find_samples([manifest], None, folder / "a", None)
    assert samples.targets is None
    assert len(samples.inputs) == 2


def test_a_folder_that_does_not_fit_is_refused(folder: Path, manifest: Manifest) -> None:
    (folder / "c").mkdir()
    assert len(find_samples([manifest], None, folder, None).inputs) == 3
    (folder / "dog").mkdir()
    with pytest.raises(InputError, match="dog: expected a folder named like a class: a, b, c"):
        find_samples([manifest], None, folder, None)
    with pytest.raises(UsageError, match=r"c: expected images in it"):
        find_samples([manifest], None, folder / "c", None)
    (folder / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1\.png"):
        find_samples([manifest], None, folder / "a", None)


def test_pngs_without_pillow_name_what_to_install(
    folder: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match="pip install"):
        find_samples([manifest], None, folder, None)
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    np.save(folder / "a" / "1.npy", np.full((4, 4), 7, np.uint8))
    assert array(find_samples([manifest], None, folder, None).inputs).max() == 7


def test_files_that_are_no_npz_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "test.npz"
    with pytest.raises(UsageError, match=r"no file .*test\.npz"):
        file_samples(path, manifest)
    for content in (b"", b"text", b"PK\x03\x04 and no more", b"\x93NUMPY\x01"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"expected an \.npz file"):
            file_samples(path, manifest)
    with pytest.raises(InputError, match="expected a file, found a folder"):
        file_samples(tmp_path, manifest)
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(InputError, match=r"expected an \.npz file"):
        file_samples(path, manifest)


def test_pickled_objects_are_not_loaded(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), y=LABELS)
    with pytest.raises(InputError, match=r"expected an \.npz file of plain arrays"):
        file_samples(path, manifest)


def test_damage_anywhere_in_a_file_is_an_input_error(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "test.npz"
    np.savez_compressed(path, x=IMAGES, y=LABELS)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            file_samples(path, manifest)
        except InputError:
            continue


def test_the_bundles_own_dataset_is_the_default_and_its_absence_is_explained(
    manifest: Manifest,
) -> None:
    with pytest.raises(UsageError, match="trained on nosuchset: name data with --data"):
        find_samples([manifest], None, None, None)
    with pytest.raises(
        UsageError, match="--data another: expected mnist, digits, scenes, digit-scenes, a FOLDER"
    ):
        find_samples([manifest], "another", None, None)


def test_a_bundle_cannot_make_the_benchmark_run_code(manifest: Manifest) -> None:
    training = replace(manifest.training, dataset="antigravity:__doc__")
    with pytest.raises(UsageError, match=r"antigravity:__doc__.*no reason to run code"):
        find_samples([replace(manifest, training=training)], None, None, None)
    assert "antigravity" not in sys.modules


def test_what_is_no_file_is_named(folder: Path, tmp_path: Path, manifest: Manifest) -> None:
    os.mkfifo(folder / "a" / "3.png")
    for name in ("1.png", "2.jpg"):
        (folder / "a" / name).unlink()
    with pytest.raises(InputError, match=r"3\.png: expected a file, found a pipe"):
        find_samples([manifest], None, folder, None)
    (tmp_path / "x.npz").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"x\.npz: expected a file, found a device"):
        find_samples([manifest], None, tmp_path / "x.npz", None)
