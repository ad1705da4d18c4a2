"""Makes `digits.tin`, a bundle with a plan: digits of 8 by 8, products of every kind.

Run `python tests/data/make_digits.py` in an environment with `tinsmith[compile]`.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tinsmith_data import Dataset
from tinsmith_export import Options, export

OUT = Path(__file__).with_name("digits.tin")
TEST_COUNT = 300


def digits() -> Dataset:
    """Scikit-learn's digits as they come, their 17 grey levels spread over 0..255."""
    found = load_digits()
    images = np.rint(found.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)
    x_test, x_train = np.split(images, [TEST_COUNT])
    y_test, y_train = np.split(found.target.astype(np.int64), [TEST_COUNT])
    return Dataset("digits", x_train, y_train, x_test, y_test, tuple(map(str, range(10))))


def main() -> None:
    """Trains for a moment, compiles without fine-tuning, writes the bundle."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(12, 3, padding="same", activation="relu", name="conv"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise"),
            layers.Conv2D(20, 1, activation="relu", name="pointwise"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(20, 3, activation="relu", name="second"),
            layers.Flatten(name="flat"),
            layers.Dense(10, name="dense"),
        ],
        name="digits",
    )
    dataset = digits()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.005), loss)
    model.fit(dataset.x_train / np.float32(255), dataset.y_train, epochs=15, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digits.keras")
        model.save(path)
        options = Options(recipe="ptq", targets=("tflite", "native"))
        exported = export(path, dataset, OUT, options)
    for stage in exported.manifest.quality.stages:
        print(f"{stage.name}: {stage.accuracy:.2%}")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
