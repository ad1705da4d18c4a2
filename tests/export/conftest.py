"""One small CNN with random weights, taken all the way, for every test that only looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinsmith_train.noise import import_tensorflow

import_tensorflow()

import keras  # noqa: E402

from tinsmith_export.calibration import Range, calibrate  # noqa: E402
from tinsmith_export.graph import Graph  # noqa: E402
from tinsmith_export.onnx import to_onnx  # noqa: E402
from tinsmith_export.quantize import choose_weight_bits, fake_quantize  # noqa: E402
from tinsmith_export.reader import read_graph  # noqa: E402
from tinsmith_export.rewrite import rewrite  # noqa: E402
from tinsmith_export.tflite import to_int8_tflite  # noqa: E402
from tinsmith_runtime.backends import create_backend  # noqa: E402
from tinsmith_runtime.manifest import Input, Output  # noqa: E402

SHAPE = (12, 12, 2)
LAYERS = ("conv1", "depth", "conv2", "hidden", "answer")


@dataclass(frozen=True)
class Converted:
    """What a small CNN became; `pixels` are `uint8 (500, 12, 12, 2)` that it was calibrated on."""

    graph: Graph
    bits: dict[str, int]
    model: Any
    tflite: bytes
    onnx: bytes
    source: Input
    target: Output
    pixels: NDArray[np.uint8]


@pytest.fixture(scope="session")
def converted() -> Converted:
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu", name="conv1"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depth"),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 1, name="conv2"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu", bias_initializer="normal", name="hidden"),
            layers.Dense(5, use_bias=False, activation="softmax", name="answer"),
        ]
    )
    graph, activation = rewrite(read_graph(model))
    pixels = np.random.default_rng(1).integers(0, 256, (500, *SHAPE), np.uint8)
    bits = choose_weight_bits(graph)
    rounded = fake_quantize(
        graph, Range(0.0, 1.0), calibrate(graph, pixels / np.float32(255)), bits
    )
    tflite = to_int8_tflite(rounded)
    found = create_backend("litert", tflite, 1)
    scale = float(np.float32(1 / 255))
    source = Input("image", (None, *SHAPE), "uint8", "NHWC", (0.0, 1.0), scale, -128)
    output = found.output
    target = Output(
        "logits", (None, *output.shape), output.scale, output.zero_point, tuple("abcde"), activation
    )
    onnx = to_onnx(tflite, LAYERS, source, target)
    return Converted(graph, bits, rounded, tflite, onnx, source, target, pixels)
