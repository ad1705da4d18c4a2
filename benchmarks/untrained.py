"""Two models of MLPerf Tiny with random weights, for benchmarks/native.py.

    python benchmarks/untrained.py keywords.keras
    python benchmarks/untrained.py autoencoder.keras

`keywords` is a DS-CNN that tells 12 spoken words apart from 49 x 10 features, `autoencoder` the
dense one that finds anomalies in 640 features. Beside the model comes NAME.npz, inputs to calibrate
on. How long a model takes does not depend on what it has learned, as long as its weights are spread
like those of trained ones.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

_INPUTS, _WIDTHS = 200, (128, 128, 128, 128, 8, 128, 128, 128, 128, 640)


def _normal() -> Any:
    """Weights like those of trained layers: most of them small, a few large."""
    import keras

    return keras.initializers.VarianceScaling(2.0, distribution="untruncated_normal", seed=0)


def keywords() -> Any:
    """The DS-CNN: a convolution and four separable ones of 64 channels."""
    import keras

    layers = keras.layers
    weights = {"kernel_initializer": _normal()}
    same = {"padding": "same", "activation": "relu", **weights}
    deep = {"padding": "same", "activation": "relu", "depthwise_initializer": _normal()}
    blocks = [
        layer
        for _ in range(4)
        for layer in (layers.DepthwiseConv2D(3, **deep), layers.Conv2D(64, 1, **same))
    ]
    first = layers.Conv2D(64, (10, 4), strides=2, **same)
    ends = layers.GlobalAveragePooling2D(), layers.Dense(12, **weights), layers.Softmax()
    return keras.Sequential([layers.Input((49, 10, 1)), first, *blocks, *ends])


def autoencoder() -> Any:
    """Ten dense layers, the narrowest of 8."""
    import keras

    layers = keras.layers
    *hidden, last = _WIDTHS
    weights = {"kernel_initializer": _normal()}
    dense = [layers.Dense(width, activation="relu", **weights) for width in hidden]
    return keras.Sequential([layers.Input((640,)), *dense, layers.Dense(last, **weights)])


def main() -> int:
    """Writes the model that the command names, and its inputs."""
    makers = {"keywords.keras": keywords, "autoencoder.keras": autoencoder}
    path = Path(sys.argv[1] if len(sys.argv) == 2 else "")
    if path.name not in makers:
        print(f"usage: python benchmarks/untrained.py {' | '.join(makers)}", file=sys.stderr)
        return 2
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    model = makers[path.name]()
    model.save(path)
    inputs = np.random.default_rng(0).normal(size=(_INPUTS, *model.input_shape[1:]))
    np.savez(path.with_suffix(".npz"), x=inputs.astype(np.float32))
    return 0


if __name__ == "__main__":
    sys.exit(main())
