"""From a folder of photos to a bundle that sees the pixels that were evaluated."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from narrow import array
from PIL import Image

from tinsmith_data import Dataset, load_dataset
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime import load
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_train import load_network, train

import_tensorflow()

import keras  # noqa: E402

from tinsmith_train.batches import augment  # noqa: E402
from tinsmith_train.fit import class_weights  # noqa: E402

SIZE = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20: mostly red, green or blue."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for number in range(60):
        label = number % 3
        pixels = rng.integers(0, 120, (6, 9, 3), np.uint8)
        pixels[..., label] += 120
        path = folder / ("red", "green", "blue")[label] / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((90, 60), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def dataset(photos: Path) -> Dataset:
    return load_dataset(str(photos), size=SIZE)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder and its bundle, by the commands that a person types."""
    out = tmp_path_factory.mktemp("photos") / "run"
    model = ["--model", "dscnn", "--size", str(SIZE), "--epochs", "16", "--batch-size", "8"]
    words = ["--data", str(photos), "--quiet", "--augment", "none"]
    assert main(["train", *words, *model, "--out", str(out)]) == 0
    export = ["--recipe", "ptq", "--max-drop-pp", "100", "--quiet", "--data", str(photos)]
    assert main(["export", str(out / "model.keras"), *export]) == 0
    return out


def test_the_bundle_sees_the_pixels_that_were_evaluated(
    run: Path, photos: Path, dataset: Dataset
) -> None:
    model = load(run / "model.tin")
    paths = {}
    for path in photos.rglob("*.jpg"):
        found = load_dataset_pixels(path)
        paths[found.tobytes()] = path
    for image in dataset.x_test:
        path = paths[image.tobytes()]
        assert model.classify(path) == model.classify(image)
    assert model.labels == dataset.labels


def load_dataset_pixels(path: Path) -> np.ndarray:
    """As `tinsmith run` reads it, by Pillow alone."""
    with Image.open(path) as image:
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def test_train_export_and_bench_divide_alike(
    run: Path, photos: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    history = json.loads((run / "history.json").read_text())
    manifest = load(run / "model.tin").manifest
    assert history["dataset"]["sha256"] == manifest.training.dataset_sha256 == dataset.sha256
    words = ["--quick", "--rounds", "2", "--quiet", "--json", "-"]
    assert main(["bench", str(run / "model.tin"), "--data", str(photos), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"]["samples"] == len(dataset.x_test) == 12
    assert history["test_accuracy"] > 0.6, "guessing gives a third"


def test_uneven_classes_count_alike() -> None:
    assert class_weights(np.array([0, 1, 0, 1, 1])) is None
    assert class_weights(np.array([0] * 6 + [2] * 2)) == {0: 4 / 6, 2: 2.0}


def test_photos_are_mirrored_and_digits_are_not() -> None:
    ramp = np.tile(np.linspace(0.2, 0.8, 20, dtype=np.float32), (64, 20, 1))[..., np.newaxis]
    for kind, mirrored in (("shifts", False), ("photos", True)):
        found = array(augment(ramp, np.array([3, 3]), kind).numpy())
        falling = found[:, 10, 4, 0] > found[:, 10, 15, 0]
        assert falling.any() == mirrored
        assert not falling.all()
        assert 0 <= found.min() <= found.max() <= 1


@pytest.fixture(scope="module")
def trained(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's network: it takes -1 to 1, and says one of seven classes."""
    path = tmp_path_factory.mktemp("network") / "theirs.keras"
    mine = keras.models.load_model(run / "model.keras")
    features = mine.get_layer("pool").output
    head = keras.layers.Dense(7, activation="softmax", name="theirs")(features)
    keras.Model(mine.inputs[0], head).save(path)
    return path


def test_a_trained_network_with_a_new_head(
    trained: Path, photos: Path, dataset: Dataset, tmp_path: Path
) -> None:
    before = {w.path: np.array(w) for w in keras.models.load_model(trained).weights}
    words = ["train", "--data", str(photos), "--init", str(trained), "--quiet", "--batch-size", "8"]
    for epochs, changed in ((1, False), (4, True)):
        out = tmp_path / str(epochs)
        assert main([*words, "--epochs", str(epochs), "--out", str(out)]) == 0
        model = keras.models.load_model(out / "model.keras")
        assert model.output_shape == (None, 3)
        weights = {weight.path: np.array(weight) for weight in model.get_layer("network").weights}
        assert set(weights) < set(before), "all but their head"
        for name, weight in weights.items():
            same = np.array_equal(weight, before[name])
            assert same or ((changed and "conv" in name) or "depth" in name), name
    history = json.loads((out / "history.json").read_text())
    assert history["model"] == "theirs"
    assert history["init"] == str(trained)
    network = load_network(trained, (-1.0, 1.0))
    result = train(None, dataset, tmp_path / "range", epochs=1, init=network)
    model = keras.models.load_model(result.out / "model.keras")
    assert model.get_layer("range").scale == 2
    export = ["--recipe", "ptq", "--max-drop-pp", "100", "--quiet", "--data", str(photos)]
    assert main(["export", str(result.out / "model.keras"), *export]) == 0
    parity = load(result.out / "model.tin").manifest.quality.parity
    assert all(one.evaluation.max_difference_lsb <= 1 for one in parity)


def hostile(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    lambda_ = keras.layers.Lambda(lambda x: x + 1, name="evil")(image)
    keras.Model(image, keras.layers.Flatten()(lambda_)).save(path)


def flat(path: Path) -> None:
    keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)]).save(path)


def huge(path: Path) -> None:
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3)(image)
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)).save(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (hostile, "layer `evil` (Lambda) carries code, which is not run"),
        (flat, "expected a network from images (H, W, 1) or (H, W, 3) to one output"),
        (lambda path: path.write_bytes(b"PK"), "cannot load"),
        (huge, "takes images of (32, 32, 3), the data are of (24, 24, 3): fit them to it"),
    ],
)
def test_networks_to_begin_with_that_are_none(
    make: Callable[[Path], object], said: str, dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "network.keras"
    make(path)
    with pytest.raises((UsageError, TinsmithError)) as caught:
        train(None, dataset, tmp_path / "run", init=load_network(path))
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()
