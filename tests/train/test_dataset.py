"""Each source of data, and each way it can be wrong, by the command line where a user meets it."""

import gzip
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinsmith_data import Dataset, DatasetError, load_dataset
from tinsmith_data.digits import enlarge
from tinsmith_data.idx import encode_idx
from tinsmith_runtime.cli import main

MNIST_FILES = {
    "train-images-idx3-ubyte": (6, 28, 28),
    "train-labels-idx1-ubyte": (6,),
    "t10k-images-idx3-ubyte": (4, 28, 28),
    "t10k-labels-idx1-ubyte": (4,),
}


def arrays(**changes: object) -> dict[str, Any]:
    """A good dataset of three classes, but for `changes`; `None` leaves an array out."""
    good: dict[str, Any] = {
        "x_train": np.zeros((6, 5, 4), np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        "x_test": np.zeros((3, 5, 4), np.uint8),
        "y_test": np.array([0, 1, 2]),
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that `tinsmith train` ends with, having refused to start."""
    assert main(["train", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tinsmith: error: ")
    assert err.count("\n") == 1
    return err


def test_digits_have_mnists_form(digits: Dataset) -> None:
    assert digits.x_train.shape == (1343, 28, 28, 1)
    assert digits.x_test.shape == (454, 28, 28, 1)
    assert digits.x_train.dtype == np.uint8
    assert digits.y_train.dtype == np.int64
    assert digits.labels == tuple("0123456789")
    assert digits.x_train.max() == 255
    assert not digits.x_train[:, :4].any(), "a margin of black, as in MNIST"
    assert set(np.bincount(digits.y_test)) <= {44, 45, 46}, "stratified"


def test_digits_are_the_same_bytes_everywhere(digits: Dataset) -> None:
    assert digits.sha256 == "bbb4e85ac590976282db3a792f98499d226cfa7e5200be6357b3044855625d3e"


def test_enlarging_keeps_flat_areas_flat() -> None:
    white = enlarge(np.full((1, 8, 8), 16))
    assert (white[0, 4:24, 4:24] == 255).all()
    assert white.sum() == 255 * 400


def test_mnist_is_mnist(mnist: Dataset) -> None:
    assert mnist.x_train.shape == (60000, 28, 28, 1)
    assert mnist.x_test.shape == (10000, 28, 28, 1)
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.sha256 == "81b5b7068b487449d7b931d1a017285f103d3a0a4db56f3de6ac0bd9b268bdb3"


def test_keras_cache_is_used_and_checked(
    mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TINSMITH_DATA")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    cache = tmp_path / "datasets" / "mnist.npz"
    cache.parent.mkdir()
    kept = {key: getattr(mnist, key) for key in ("x_train", "y_train", "x_test", "y_test")}
    plain = {key: np.squeeze(value).astype(np.uint8) for key, value in kept.items()}
    np.savez(cache, **plain)
    assert load_dataset("mnist").sha256 == mnist.sha256
    plain["y_test"][7] ^= 1
    np.savez(cache, **plain)
    with pytest.raises(Exception, match="y_test is not MNIST's t10k-labels-idx1-ubyte"):
        load_dataset("mnist")
    cache.write_bytes(b"PK no archive")
    with pytest.raises(Exception, match="delete it to have it downloaded"):
        load_dataset("mnist")


@pytest.mark.slow
def test_mnist_out_of_reach_says_where_it_looked_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINSMITH_DATA", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setitem(sys.modules, "keras.datasets", None)  # no download either
    said = refusal(["--data", "mnist"], capsys)
    assert str(tmp_path / "mnist") in said
    assert "--data digits" in said


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    for name, shape in MNIST_FILES.items():
        (tmp_path / name).write_bytes(encode_idx(np.zeros(shape, np.uint8)))
    return tmp_path


def test_idx_files_that_are_not_mnist(idx_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(["--data", str(idx_folder)], capsys)
    assert "is not MNIST's train-images-idx3-ubyte" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:7], "truncated"),
        (lambda data: b"\x00\x00\x0d\x03" + data[4:], "magic number 2051 (images), got 3331"),
        (lambda _: encode_idx(np.zeros(60, np.uint8)), "got 2049 (labels)"),
    ],
)
def test_damaged_idx_files(
    idx_folder: Path, change: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = idx_folder / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    said = refusal(["--data", str(idx_folder)], capsys)
    assert message in said
    assert str(path) in said


def test_missing_idx_files(
    idx_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (idx_folder / "train-images-idx3-ubyte").unlink()
    said = refusal(["--data", str(idx_folder)], capsys)
    assert f"no train-images-idx3-ubyte or train-images-idx3-ubyte.gz in {idx_folder}" in said
    assert "nowhere: expected mnist" in refusal(["--data", str(tmp_path / "nowhere")], capsys)


def test_npz_gets_channels_numbers_for_names_and_a_hash(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays())
    own = load_dataset(str(tmp_path / "own.npz"))
    assert own.name == "own"
    assert own.x_train.shape == (6, 5, 4, 1)
    assert own.y_train.dtype == np.int64
    assert own.labels == ("0", "1", "2")
    np.savez_compressed(tmp_path / "again.npz", **arrays(labels=np.array(["a", "b", "c"])))
    again = load_dataset(str(tmp_path / "again.npz"))
    assert again.labels == ("a", "b", "c")
    assert again.sha256 == own.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "no y_test: expected images with labels to learn from"),
        ({"x_test": None, "y_test": None}, "expected one array, or x, inputs, or x_train and x_t"),
        ({"y_train": np.zeros(5, int)}, "y_train: 5 labels for 6 images"),
        ({"y_test": np.array([0, 1, 3])}, "y_test: expected labels 0 to 2, got 0 to 3"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, "expected labels 0 to 2, got -1 to 2"),
        ({"labels": np.array(["a", "b"])}, "y_train: expected labels 0 to 1, got 0 to 2"),
        ({"y_train": np.zeros(6)}, "y_train: expected integer labels (N,), got float64"),
        ({"y_train": np.zeros((6, 2), int)}, "integer labels (N,), got int64 of shape (6, 2)"),
        ({"x_train": np.zeros((6, 5, 4))}, "x_train: expected uint8 pixels, 0 to 255, got float64"),
        ({"x_train": np.zeros((6, 20), np.uint8)}, "(N, H, W) or (N, H, W, C), got shape (6, 20)"),
        ({"x_test": np.zeros((0, 5, 4), np.uint8)}, "x_test: expected images"),
        ({"x_test": np.zeros((3, 4, 5), np.uint8)}, "images of (5, 4, 1), x_test of (4, 5, 1)"),
        ({"x_test": np.array([None] * 3)}, "expected an .npz file of plain arrays"),
        ({"labels": np.zeros((3, 0))}, "labels: expected names (N,), got shape (3, 0)"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 1 << 62])}, "y_train: expected labels below 100000"),
    ],
)
def test_npz_that_cannot_be_learnt_from(
    tmp_path: Path, changes: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **arrays(**changes))
    assert message in refusal(["--data", str(path)], capsys)


def test_npz_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.npz"
    assert f"no file {path}" in refusal(["--data", str(path)], capsys)
    for content in (b"", b"text", b"PK\x03\x04 cut"):
        path.write_bytes(content)
        assert "expected an .npz file" in refusal(["--data", str(path)], capsys)
    np.save(tmp_path / "one.npy", np.zeros(3))
    shutil.move(tmp_path / "one.npy", path)
    assert "expected an .npz file" in refusal(["--data", str(path)], capsys)


@pytest.mark.parametrize("name", ["own.npz", "train-images-idx3-ubyte"])
def test_what_is_no_file(
    name: str, idx_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe that nobody writes to, a device without end, a file of holes."""
    path = idx_folder / name
    words = ["--data", str(idx_folder)] if path.exists() else ["--data", str(path)]
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    said = refusal(words, capsys)
    assert "expected a file, found a device" in said or f"no {name} " in said
    path.unlink()
    os.mkfifo(path)
    said = refusal(words, capsys)
    assert "expected a file, found a pipe" in said or f"no {name} " in said
    path.unlink()
    with path.open("wb") as stream:
        stream.truncate(300_000_000)
    said = refusal(words, capsys)
    assert "expected at most 67108864 bytes, got 300000000" in said or "File is not a zip" in said


def test_idx_that_unpacks_to_gigabytes(
    idx_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (idx_folder / "train-images-idx3-ubyte").write_bytes(gzip.compress(bytes(1 << 27), 1))
    said = refusal(["--data", str(idx_folder)], capsys)
    assert "expected at most 67108864 bytes, unpacked, got more" in said


def test_npz_that_unpacks_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **arrays(x_train=np.zeros((6, 1000, 1000), np.uint8)))
    monkeypatch.setattr("tinsmith_data.npz.MAX_BYTES", 1_000_000)
    with pytest.raises(DatasetError, match="expected at most 1000000 bytes of arrays, got 6"):
        load_dataset(str(path))


def test_damage_anywhere_in_an_npz_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x09]) + whole[position + 1 :])
        try:
            load_dataset(str(path))
        except DatasetError:
            refused += 1
    assert refused > len(whole) // 2  # the rest are names and dates that a zip keeps twice


MODULE = """
import numpy as np

def good():
    x, y = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])
    return (x, y), (x, y)

def keys():
    return {"x_train": 1}

def broken():
    raise RuntimeError("the disk is on fire")
"""


def test_a_function_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_images.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own = load_dataset("my_images:good")
    assert own.name == "my_images:good"
    assert own.x_test.shape == (4, 8, 8, 3)
    assert own.labels == ("0", "1")
    for spec, message in (
        ("my_images:keys", "expected batches (N, …) of inputs, got one of shape ()"),
        ("my_images:broken", "raised RuntimeError: the disk is on fire"),
        ("my_images:nothing", "has no attribute 'nothing'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        (":f", "Empty module name"),
    ):
        assert message in refusal(["--data", spec], capsys)


def test_an_unknown_dataset_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(["--data", "mnits"], capsys)
    assert (
        "--data mnits: expected mnist, digits, scenes, digit-scenes, a FOLDER, FILE.npz, "
        "FILE.npy, FILE.json or module:function" in said
    )
