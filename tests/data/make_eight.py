"""Makes `eight.tin`, a bundle whose 8-bit weights overflow sums of 16 bits wherever they can.

Run `python tests/data/make_eight.py` in an environment with `tinsmith[compile]`.
"""

import tempfile
from pathlib import Path

import numpy as np

from tinsmith_data import Dataset
from tinsmith_export import Options, export

OUT = Path(__file__).with_name("eight.tin")


def main() -> None:
    """Draws weights that are all large, compiles without fine-tuning, writes the bundle."""
    import keras

    rng = np.random.default_rng(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="doubled"),
            layers.Conv2D(32, 1, activation="relu", name="pointwise"),
            layers.Flatten(),
            layers.Dense(10, name="dense"),
        ],
        name="eight",
    )
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            large = rng.uniform(0.7, 1, kernel.shape) * rng.choice([-1, 1], kernel.shape)
            layer.set_weights([large, bias])
    images = rng.integers(0, 256, (200, 8, 8, 4), np.uint8)
    labels = np.zeros(100, np.int64)
    names = tuple(map(str, range(10)))
    dataset = Dataset("noise", images[:100], labels, images[100:], labels, names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "eight.keras")
        model.save(path)
        options = Options(recipe="ptq", max_drop_pp=100.0, targets=("tflite", "onnx"))
        exported = export(path, dataset, OUT, options)
    print(exported.manifest.layers, exported.manifest.quality.parity)
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
