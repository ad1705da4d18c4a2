"""The folders that pages are typed in: `<!-- typed in: NAME -->` names a function here."""

import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from narrow import array
from PIL import Image

from tinsmith_data import load_dataset
from tinsmith_runtime import load, read_bundle
from tinsmith_runtime.cli import main

DATA = Path(__file__).parents[1] / "data"
# What Python code of a page finds.
Names = dict[str, Any]


def empty(folder: Path, demo: Callable[[], Path]) -> Names:
    """Nothing."""
    return {}


def bundle(folder: Path, demo: Callable[[], Path]) -> Names:
    """A bundle of 8 by 8 images in three classes, which its own answers label; reports of it."""
    shutil.copy(DATA / "planned.tin", folder / "digits.tin")
    pixels = array(read_bundle(folder / "digits.tin").golden().inputs)
    with load(folder / "digits.tin") as model:
        labels = [model.classify(image, top=1)[0].label for image in pixels]
    numbers = np.array([list(model.labels).index(label) for label in labels])
    np.savez(folder / "test.npz", x_test=pixels, y_test=numbers)
    (folder / "tinsmith.toml").write_text('[bench]\ndata = "test.npz"\n')
    _save_images(folder, pixels, labels)
    _report(folder)
    return {}


def runtime(folder: Path, demo: Callable[[], Path]) -> Names:
    """The same, and models of several inputs and of sequences, with what they take."""
    bundle(folder, demo)
    for name, its in (("pair.tin", "pair.tin"), ("motor.tin", "steps.tin")):
        shutil.copy(DATA / its, folder / name)
    shutil.copytree(folder / "photos" / "zero", folder / "folder")
    (folder / "scans/today").mkdir(parents=True)
    Image.open(folder / "photo.png").save(folder / "scans/today/1.jpg")
    pixels = array(read_bundle(folder / "digits.tin").golden().inputs)
    readings = np.zeros((5, 2), np.float32)
    np.savetxt(folder / "readings.csv", readings, delimiter=",")
    pair = read_bundle(folder / "pair.tin")
    names = [entry.name for entry in pair.manifest.inputs]
    np.savez(folder / "samples.npz", **dict(zip(names, pair.golden().inputs, strict=True)))
    (folder / "opt").mkdir()
    with chdir(folder):
        assert main(["install", str(DATA / "tiny.tin"), "opt/digits"]) == 0
    return {"images": pixels, "sensor": readings}


def network(folder: Path, demo: Callable[[], Path]) -> Names:
    """Small networks with random weights, as a user brings them, and data to calibrate them on."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    layers_of_images = [layers.Conv2D(4, 3, activation="relu", name="conv2d"), layers.Flatten()]
    network = [keras.Input((8, 8, 1)), *layers_of_images, layers.Dense(3, activation="softmax")]
    keras.Sequential(network).save(folder / "model.keras")
    recurrent = [keras.Input((None, 2)), layers.LSTM(4), layers.Dense(3)]
    keras.Sequential(recurrent).save(folder / "recurrent.keras")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 8, 8, 1), np.uint8)
    numbers = np.arange(60) % 3
    halves: dict[str, Any] = {"x_train": pixels[:30], "x_test": pixels[30:]}
    np.savez(folder / "calibration.npz", **halves, y_train=numbers[:30], y_test=numbers[30:])
    _save_images(folder, pixels, [("zero", "one", "two")[number] for number in numbers])
    steps = rng.normal(size=(40, 6, 2)).astype(np.float32)
    np.savez(folder / "sequences.npz", x_train=steps[:30], x_test=steps[30:])
    np.savetxt(folder / "readings.csv", steps[0], delimiter=",")
    return {}


def detector(folder: Path, demo: Callable[[], Path]) -> Names:
    """A detector, and a photo for it."""
    shutil.copy(DATA / "boxes.tin", folder / "detector.tin")
    Image.new("RGB", (64, 48), (30, 120, 60)).save(folder / "garden.jpg")
    return {}


def demo(folder: Path, demo: Callable[[], Path]) -> Names:
    """What `tinsmith demo` left, and its model, bundle and images at hand."""
    run = folder / "runs/demo"
    shutil.copytree(demo() / "runs/demo", run)
    for name in ("model.keras", "digits.tin"):
        shutil.copy(run / name, folder)
    for name in ("old.json", "new.json"):
        shutil.copy(run / "report.json", folder / name)
    data = load_dataset("digits")
    few = slice(30)
    np.savez(folder / "test.npz", x_test=data.x_test[few], y_test=data.y_test[few])
    _save_images(folder, data.x_test[few], [data.labels[number] for number in data.y_test[few]])
    return {}


def photos(folder: Path, demo: Callable[[], Path]) -> Names:
    """Colour photos of three classes, 20 of each; so small that they are soon learned."""
    rng = np.random.default_rng(0)
    for number in range(60):
        channel = number % 3
        pixels = rng.integers(0, 120, (6, 9, 3), np.uint8)
        pixels[..., channel] += 120
        path = folder / "photos" / ("poppies", "meadows", "lakes")[channel] / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    shutil.copy(folder / "photos/lakes/02.jpg", folder / "photo.jpg")
    return {}


def _save_images(folder: Path, pixels: np.ndarray, labels: list[str]) -> None:
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / "photos" / label / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    shutil.copy(path, folder / "photo.png")


def _report(folder: Path) -> None:
    words = ["--quick", "--rounds", "2", "--quiet", "--data", "test.npz", "--json", "old.json"]
    with chdir(folder):
        assert main(["bench", "digits.tin", *words]) == 0
    shutil.copy(folder / "old.json", folder / "new.json")


PLACES: dict[str, Callable[[Path, Callable[[], Path]], Names]] = {
    place.__name__: place for place in (empty, bundle, runtime, network, detector, demo, photos)
}
