"""One small CNN with random weights, taken all the way, for every test that only looks at it."""

import keras
import pytest
from compiling import Compiled, compiled, settle

SHAPE = (12, 12, 2)
LAYERS = ("conv1", "depth", "conv2", "hidden", "answer")


@pytest.fixture(scope="session")
def converted() -> Compiled:
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
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(5, use_bias=False, activation="softmax", name="answer"),
        ]
    )
    return compiled(settle(model), count=500, floats=True)
