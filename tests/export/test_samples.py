"""`--data`: files, folders, datasets and functions become calibration and evaluation data."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array, some
from PIL import Image

from tinsmith_data import load_dataset
from tinsmith_data.sources import kind_of as find_source
from tinsmith_export.inputs.samples import Samples, kind_of
from tinsmith_export.inputs.sources import Source, from_calibration, from_source
from tinsmith_runtime.errors import UsageError

RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (40, 6, 5, 3), np.uint8)
LABELS = np.arange(40) % 4


def rows(samples: Samples) -> set[bytes]:
    return {row.tobytes() for row in (*samples.calibration, *samples.evaluation)}


def test_one_array_is_split_by_the_seed(tmp_path: Path) -> None:
    np.savez(tmp_path / "pixels.npz", anything=PIXELS)
    np.save(tmp_path / "pixels.npy", PIXELS)
    one, same, other = (
        from_calibration(str(tmp_path / name), (6, 5, 3), seed)
        for name, seed in (("pixels.npz", 0), ("pixels.npy", 0), ("pixels.npy", 1))
    )
    assert (len(one.calibration), len(one.evaluation)) == (32, 8)
    assert rows(one) == rows(other) == {row.tobytes() for row in PIXELS}
    np.testing.assert_array_equal(one.evaluation, same.evaluation)
    assert one.sha256 == same.sha256 != other.sha256
    assert (one.name, kind_of(array(one.calibration)), one.evaluation_labels, one.classes) == (
        "pixels",
        "image",
        None,
        (),
    )


def test_labels_of_undivided_data_only_tell_the_accuracy(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=PIXELS, y=LABELS, labels=list("abcd"))
    samples = from_calibration(str(tmp_path / "a.npz"), (6, 5, 3), 0)
    assert samples.calibration_labels is None
    assert samples.classes == tuple("abcd")
    found = {row.tobytes(): label for row, label in zip(PIXELS, LABELS, strict=True)}
    assert samples.evaluation_labels is not None
    assert [
        found[row.tobytes()] for row in samples.evaluation
    ] == samples.evaluation_labels.tolist()


def test_a_split_of_ones_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=PIXELS[:5], x_test=PIXELS[5:9], y_test=LABELS[5:9])
    samples = from_calibration(str(tmp_path / "a.npz"), (6, 5, 3), 0)
    np.testing.assert_array_equal(samples.calibration, PIXELS[:5])
    np.testing.assert_array_equal(samples.evaluation, PIXELS[5:9])
    np.testing.assert_array_equal(samples.evaluation_labels, LABELS[5:9])


@pytest.mark.parametrize(
    ("inputs", "shape", "kind", "dtype"),
    [
        (PIXELS[..., 0], (6, 5, 1), "image", np.uint8),
        (PIXELS[:, 0, 0], (3,), "features", np.float32),
        (PIXELS / 255, (6, 5, 3), "features", np.float32),
        (RNG.normal(size=(40, 7)), (7,), "features", np.float32),
    ],
)
def test_what_is_a_pixel(
    inputs: Any, shape: tuple[int, ...], kind: str, dtype: type, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", inputs)
    samples = from_calibration(str(tmp_path / "a.npy"), shape, 0)
    assert (kind_of(array(samples.calibration)), array(samples.evaluation).dtype) == (
        kind,
        np.dtype(dtype),
    )
    assert array(samples.evaluation).shape[1:] == shape


def test_a_folder_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for index in range(20):
        name = f"deep/er/{index}.JPG" if index % 2 else f"deep/{index}.png"
        Image.fromarray(PIXELS[index].repeat(4, 0)).save(tmp_path / name)
    (tmp_path / "readme.txt").write_text("no image")
    samples = from_calibration(str(tmp_path / "deep"), (6, 5, 3), 0)
    assert (len(samples.calibration), len(samples.evaluation)) == (16, 4)
    assert kind_of(array(samples.calibration)) == "image"
    assert samples.name == "deep"
    (tmp_path / "deep" / "broken.jpg").write_bytes(b"no image")
    assert from_calibration(str(tmp_path / "deep"), (6, 5, 3), 0).sha256 == samples.sha256
    said = capsys.readouterr().err
    assert "tinsmith: 1 of 21 images cannot be read and are left out: " in said
    assert "broken.jpg: expected a PNG or JPEG" in said
    with pytest.raises(UsageError, match=r"inputs of shape \(7,\), which are no images"):
        from_calibration(str(tmp_path / "deep"), (7,), 0)


def test_a_dataset_without_its_lessons() -> None:
    samples = from_calibration("digits", (28, 28, 1), 0)
    assert samples.calibration_labels is None
    assert samples.evaluation_labels is not None
    assert samples.classes == tuple("0123456789")


FUNCTIONS = """
import numpy as np
X = np.random.default_rng(0).uniform(size=(40, 3)).astype("float32")
Y = np.arange(40) % 4
def array(): return X
def pair(): return X, Y
def hot(): return X, np.eye(4)[Y]
def batches(): return (X[i:i + 8] for i in range(0, 40, 8))
def labelled(): return ((X[i:i + 8], Y[i:i + 8]) for i in range(0, 40, 8))
def singles(): return ([row[None]] for row in X)
def endless():
    while True: yield X.repeat(400, 0)
def tensors():
    import tensorflow as tf
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
def nothing(): return []
def flat(): return X[:, 0]
def odd(): return [X, X[:, :2]]
def crash(): raise RuntimeError("no camera")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_inputs.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("function", "count", "labelled"),
    [
        ("array", 40, False),
        ("pair", 40, True),
        ("hot", 40, True),
        ("batches", 40, False),
        ("labelled", 40, True),
        ("singles", 40, False),
        ("tensors", 40, True),
        ("endless", 64_000, False),
    ],
)
def test_a_function(function: str, count: int, labelled: bool) -> None:
    samples = from_calibration(f"my_inputs:{function}", (3,), 0)
    assert len(samples.calibration) + len(samples.evaluation) == count
    assert (samples.evaluation_labels is not None) == labelled
    assert array(samples.calibration).dtype == np.float32


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "gave nothing: expected an array, or batches"),
        ("flat", r"expected batches \(N, …\) of inputs, got one of shape \(40,\)"),
        ("odd", r"different shapes: \(2,\), \(3,\)"),
        ("crash", "`my_inputs:crash` raised RuntimeError: no camera"),
        ("absent", "has no attribute 'absent'"),
    ],
)
def test_a_function_that_gives_no_inputs(function: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_calibration(f"my_inputs:{function}", (3,), 0)


def few(folder: Path) -> None:
    np.savez(folder / "a.npz", x=PIXELS[:15])


def two(folder: Path) -> None:
    np.savez(folder / "a.npz", left=PIXELS, right=PIXELS)


def integers(folder: Path) -> None:
    np.savez(folder / "a.npz", x=PIXELS.astype(np.int64))


def float_labels(folder: Path) -> None:
    np.savez(folder / "a.npz", x=PIXELS, y=LABELS / 2)


def short_labels(folder: Path) -> None:
    np.savez(folder / "a.npz", x=PIXELS, y=LABELS[:9])


def one_hot(folder: Path) -> None:
    np.savez(folder / "a.npz", x=PIXELS, y=np.eye(4)[LABELS] * 2)


def objects(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.array([{}, []], object))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (few, "expected at least 16 inputs, got 15"),
        (two, "expected one array, or x, inputs, or x_train and x_test; got left, right"),
        (integers, r"expected uint8 pixels or float features, got int64: cast them"),
        (float_labels, r"expected integer labels \(40,\), got float64"),
        (short_labels, r"expected integer labels \(40,\), got int64 of shape \(9,\)"),
        (one_hot, r"expected integer labels \(40,\), got float64 of shape \(40, 4\)"),
        (objects, "expected an .npz file of plain arrays"),
    ],
)
def test_a_file_that_holds_no_inputs(
    write: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(UsageError, match=said):
        from_calibration(str(tmp_path / "a.npz"), (6, 5, 3), 0)


def test_a_folder_of_what_is_no_image(tmp_path: Path) -> None:
    """Each is named; links that lead in circles are not followed."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    with (tmp_path / "c.png").open("wb") as stream:
        stream.truncate(300_000_000)
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(".")
    with pytest.raises(UsageError) as caught:
        from_calibration(str(tmp_path), (6, 5, 3), 0)
    said = str(caught.value)
    assert said.startswith("3 of 3 images cannot be read: ")
    assert said.endswith("a.png: expected a file, found a pipe; also b.png, c.png")


def test_a_folder_of_more_images_than_memory_holds(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(UsageError, match=r"expected at most 22 images of .*, found 30: a few"):
        from_calibration(str(tmp_path), (8000, 8000, 3), 0)


def test_an_array_of_what_is_no_file(tmp_path: Path) -> None:
    for suffix in ("npy", "npz"):
        (tmp_path / f"x.{suffix}").symlink_to("/dev/zero")
        with pytest.raises(UsageError, match=f"x.{suffix}: expected a file, found a device"):
            find_source(str(tmp_path / f"x.{suffix}"))


@pytest.mark.parametrize("source", ["mnits", "none.npz", "none.npy", "none/"])
def test_no_such_source(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file none|--data (mnits|none/): expected mnist"):
        find_source(source)
    with pytest.raises(UsageError, match="expected images in it"):
        from_calibration(str(tmp_path), (6, 5, 3), 0)


def test_labels_of_training_data_are_learned_from(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=PIXELS[:30], y_train=LABELS[:30], x_test=PIXELS[30:],
             y_test=np.eye(4)[LABELS[30:]])  # fmt: skip
    source = Source(str(tmp_path / "a.npz"))
    samples = from_source(source, (6, 5, 3), 0)
    np.testing.assert_array_equal(samples.calibration_labels, LABELS[:30])
    np.testing.assert_array_equal(samples.evaluation_labels, LABELS[30:])
    old = from_calibration(source.place, (6, 5, 3), 0)
    assert old.calibration_labels is None
    np.testing.assert_array_equal(old.evaluation_labels, LABELS[30:])
    floats = PIXELS[:, 0, 0] / 255
    np.savez(tmp_path / "b.npz", x_train=floats, y_train=LABELS, x_test=floats, y_test=LABELS)
    values = from_source(Source(str(tmp_path / "b.npz")), (3,), 0)
    np.testing.assert_array_equal(values.calibration_labels, LABELS)
    assert isinstance(values.calibration, np.ndarray)
    assert values.calibration.dtype == np.float32


def test_folders_are_classes_where_the_model_has_as_many_outputs(tmp_path: Path) -> None:
    for index in range(20):
        path = tmp_path / "ba"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS[index]).save(path)
    source = Source(str(tmp_path))
    samples = from_source(source, (6, 5, 3), 0, 2)
    assert samples.classes == ("a", "b")
    assert sorted(some(samples.calibration_labels)) == [0] * 8 + [1] * 8
    pixels = {PIXELS[index].tobytes(): 1 - index % 2 for index in range(20)}
    assert samples.evaluation_labels is not None
    assert [
        pixels[row.tobytes()] for row in samples.evaluation
    ] == samples.evaluation_labels.tolist()
    for outputs in (3, None):
        assert from_source(source, (6, 5, 3), 0, outputs).evaluation_labels is None
    assert from_calibration(str(tmp_path), (6, 5, 3), 0).evaluation_labels is None


def test_boxes_are_no_labels(tmp_path: Path) -> None:
    """A detector's data calibrates it; what is right is judged by `bench`."""
    images, boxes = np.zeros((20, 8, 8, 1), np.uint8), np.tile([[0, 1, 1, 5, 5]], (20, 1, 1))
    path = tmp_path / "boxes.npz"
    np.savez(path, x_train=images, y_train=boxes, x_test=images[:5], y_test=boxes[:5])
    samples = from_source(Source(str(path)), (8, 8, 1), 0)
    assert (samples.calibration_labels, samples.evaluation_labels) == (None, None)
    assert samples.sha256 == load_dataset(str(path)).sha256, "as `bench` says it"
    np.savez(tmp_path / "whole.npz", x=images, y=boxes)
    assert from_source(Source(str(tmp_path / "whole.npz")), (8, 8, 1), 0).evaluation_labels is None
