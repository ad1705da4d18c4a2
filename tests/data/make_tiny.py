"""Makes `tiny.tin`, the bundle that the runtime's tests run on: 8 by 8 digits 0, 1 and 2.

`planned.tin` is the same for three targets, the native one among them.

Run `python tests/data/make_tiny.py` in an environment with `tinsmith[compile]`. The bytes differ
from one version of the compiler to the next; what the tests rely on does not.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tinsmith_data import Dataset
from tinsmith_export import Options, export

FOLDER = Path(__file__).parent
TARGETS = {"tiny.tin": ("tflite", "onnx"), "planned.tin": ("tflite", "onnx", "native")}
LABELS = ("zero", "one", "two")
TEST_COUNT = 100


def tiny_dataset() -> Dataset:
    """Scikit-learn's digits below 3 as they come, their 17 grey levels spread over 0..255."""
    digits = load_digits(n_class=len(LABELS))
    images = np.rint(digits.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)
    x_test, x_train = np.split(images, [TEST_COUNT])
    y_test, y_train = np.split(digits.target.astype(np.int64), [TEST_COUNT])
    return Dataset("tiny", x_train, y_train, x_test, y_test, LABELS)


def main() -> None:
    """Trains for a moment, compiles without fine-tuning, writes the bundles."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(len(LABELS), activation="softmax", name="dense"),
        ],
        name="tiny",
    )
    dataset = tiny_dataset()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(dataset.x_train / np.float32(255), dataset.y_train, epochs=20, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.keras")
        model.save(path)
        for name, targets in TARGETS.items():
            options = Options(recipe="ptq", weight_bits=7, targets=targets)
            exported = export(path, dataset, FOLDER / name, options)
            for stage in exported.manifest.quality.stages:
                print(f"{stage.name}: {stage.accuracy:.2%}")
            print(f"{name}: {(FOLDER / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
