"""Makes `pair.tin` and `mixed.tin`, bundles of several inputs and outputs, from tiny's digits.

`pair.tin` takes `pixels` and `sums`, those of its eight rows, and gives `shares`, a softmax, and
`place`, where the middle of the brightness is; `mixed.tin` takes the same and gives classes. Run as
`make_tiny.py`.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from make_tiny import LABELS, tiny_dataset
from numpy.typing import NDArray

from tinsmith_export import Options, compile_model

FOLDER = Path(__file__).parent


def sums(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness of each row, `float32 (N, 8)`."""
    found: NDArray[np.float32] = images.sum(axis=(2, 3), dtype=np.float32) / np.float32(255)
    return found


def places(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Row and column of the middle of the brightness, `float32 (N, 2)`."""
    weights = images[..., 0] / images.sum(axis=(1, 2, 3), dtype=np.float32)[:, None, None]
    axis = np.arange(8, dtype=np.float32)
    return np.stack([(weights.sum(2) * axis).sum(1), (weights.sum(1) * axis).sum(1)], axis=1)


def models() -> tuple[keras.Model, keras.Model]:
    """The two models, which share all but their ends."""
    pixels = keras.Input((8, 8, 1), name="pixels")
    rows = keras.Input((8,), name="sums")
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(pixels)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Concatenate()([x, keras.layers.Dense(6, activation="relu", name="rows")(rows)])
    shares = keras.layers.Dense(len(LABELS), activation="softmax", name="shares")(x)
    place = keras.layers.Dense(2, name="place")(x)
    pair = keras.Model([pixels, rows], [shares, place], name="pair")
    return pair, keras.Model([pixels, rows], shares, name="mixed")


def main() -> None:
    """Trains for a moment, compiles without fine-tuning, writes the bundles."""
    keras.utils.set_random_seed(0)
    dataset = tiny_dataset()
    images, labels = dataset.x_train, dataset.y_train
    pair, mixed = models()
    pair.compile(keras.optimizers.Adam(0.01), ["sparse_categorical_crossentropy", "mse"])
    reals = [images / np.float32(255), sums(images)]
    pair.fit(reals, [labels, places(images)], epochs=20, verbose=0)
    inputs: dict[str, Any] = {"pixels": images, "sums": sums(images)}
    known: dict[str, Any] = {"y": labels, "labels": np.array(LABELS)}
    with tempfile.TemporaryDirectory() as folder:
        for model, more in ((pair, {}), (mixed, known)):
            file = Path(folder, f"{model.name}.npz")
            np.savez(file, **inputs, **more)
            path = FOLDER / f"{model.name}.tin"
            options = Options(recipe="ptq", weight_bits=7, targets=("tflite", "onnx"))
            compile_model(model, str(file), path, options)
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
