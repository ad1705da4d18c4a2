"""Layers that calibration data never wake: every engine loads and computes what comes of them."""

from typing import Any

import keras
import numpy as np
import pytest
from compiling import compiled

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Dense, InputLayer, OutputLayer
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.narrowest import not_too_narrow


@pytest.mark.parametrize("merged", ["Multiply", "Add", "Dot"])
def test_a_layer_that_gives_nothing(merged: str) -> None:
    layers = keras.layers
    source = keras.Input((6, 3))
    x = layers.Dense(4, name="first")(source)
    settings: dict[str, Any] = {
        "activation": "relu",
        "bias_initializer": keras.initializers.Constant(-50),
    }
    dead = layers.Dense(4, name="dead", **settings)(x)
    x = layers.Dot((2, 2))([x, dead]) if merged == "Dot" else getattr(layers, merged)()([x, dead])
    made = compiled(keras.Model(source, layers.Dense(3)(layers.Flatten()(x))), count=32)
    assert made.parity.equal == made.parity.compared > 0


def test_a_range_is_as_wide_as_the_steps_that_it_is_made_of() -> None:
    source = InputLayer("x", (), (4,))
    kernel = np.ones((4, 2), np.float32)
    narrow = Dense("y", ("x",), (2,), kernel=kernel)
    graph = Graph((source, narrow, OutputLayer("y/output", ("y",), (2,), title="y")))
    inputs = {"x": QuantParams(0.5, 0)}
    step = 0.5 / 127
    low, high = not_too_narrow(graph, {"y": (0.0, 0.0)}, inputs)["y"]
    assert low == 0.0
    assert high == pytest.approx(255 * step / 32)
    assert not_too_narrow(graph, {"y": (-1.0, 2.0)}, inputs) == {"y": (-1.0, 2.0)}
