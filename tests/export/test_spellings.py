"""Operators as other people's models spell them: read as they are, and on integers alike."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from compiling import compiled, require_same_outputs, rewritten, settle

ops = keras.ops
SHAPE = (6, 5)
LOWER = np.tril(np.ones((6, 6), bool))
ROW = np.arange(8, dtype=np.float32) - 3
WEIGHTS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
Build = Callable[[Any], Any]


def scores(x: Any) -> Any:
    return ops.einsum("bid,bjd->bij", x, x)


BUILDS: dict[str, Build] = {
    "a mask before a softmax": lambda x: ops.softmax(ops.where(LOWER, scores(x), -np.inf)),
    "a mask added": lambda x: ops.softmax(scores(x) + np.where(LOWER, 0.0, -1e9)),
    "a mask subtracted": lambda x: ops.softmax(ops.where(LOWER, scores(x), scores(x) - 1e9)),
    "rows masked": lambda x: ops.where(LOWER[:, 2:3], x, 0.0),
    "rows of either": lambda x: ops.where(LOWER[:, 2:3], x, ops.tanh(x)),
    "a band": lambda x: tf.linalg.band_part(scores(x), -1, 0),
    "negative ones scaled": lambda x: ops.where(x > 0, x, 0.1 * x),
    "a power": lambda x: x**3,
    "a square behind a reshape": lambda x: x**2,
    "a negative power": lambda x: (ops.abs(x) + 0.5) ** -1,
    "roots": lambda x: ops.relu(x) ** 0.5 + (ops.relu(x) + 0.5) ** -0.5,
    "log1p and expm1": lambda x: ops.log1p(ops.relu(x)) + ops.expm1(-ops.relu(x)),
    "celu": lambda x: ops.celu(x, 0.5),
    "gelu by tanh": lambda x: ops.gelu(x, approximate=True),
    "the least": lambda x: ops.concatenate([ops.min(x, axis=1), ops.min(x, axis=2)], -1),
    "a stack": lambda x: ops.stack([x, ops.tanh(x)], axis=1),
    "the larger of a row": lambda x: ops.maximum(x, ROW / 8),
    "the smaller of a row": lambda x: ops.minimum(x, ROW / 8),
    "weights on the left": lambda x: ops.matmul(WEIGHTS, x),
    "padding of another number": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=2),
    "padding of a vector": lambda x: ops.pad(x[:, 0], ((0, 0), (1, 2))),
    "padding of three dimensions": lambda x: ops.pad(
        x[..., None], ((0, 0), (1, 0), (0, 1), (2, 1))
    ),
    "one place taken for several": lambda x: x[:, None] * ops.ones((1, 3, 1, 1)),
    "a leaky ReLU": lambda x: ops.leaky_relu(x, 0.1),
    "a constant in front": lambda x: ops.concatenate([ops.ones_like(x[:, :1]) * ROW, x], 1),
    "a constant behind": lambda x: ops.concatenate([x, ops.ones_like(x[..., :1])], 2),
}


class Spelt(keras.layers.Layer):
    def __init__(self, build: Build) -> None:
        super().__init__()
        self._spelt = build

    def call(self, x: Any) -> Any:
        return self._spelt(x)


def model(build: Build) -> Any:
    """A dense layer, what is built of it, and another one."""
    layers = keras.layers
    source = keras.Input(SHAPE)
    x = Spelt(build)(layers.Dense(8, name="stem")(source))
    return settle(keras.Model(source, layers.Dense(3, name="answer")(layers.Flatten()(x))))


@pytest.mark.parametrize("name", BUILDS)
def test_read_it_gives_the_same(name: str) -> None:
    built = model(BUILDS[name])
    inputs = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
    require_same_outputs(rewritten(built), built, inputs)


# What they become is in other models too; these have gone wrong, or could.
TRICKY = (
    *("a mask before a softmax", "rows of either", "negative ones scaled", "a stack"),
    *("a square behind a reshape", "a negative power", "padding of three dimensions"),
    *("weights on the left", "the least", "a constant in front"),
)


@pytest.mark.parametrize("name", TRICKY)
def test_in_every_target_it_is_the_same(name: str) -> None:
    made = compiled(model(BUILDS[name]), count=32)
    assert made.parity.max_difference_lsb <= 1


@pytest.mark.parametrize("module", [keras, tf_keras], ids=["Keras 3", "tf_keras"])
def test_attention_with_a_causal_mask_loses_little(module: Any) -> None:
    layers = module.layers
    source = module.Input(SHAPE)
    x = layers.Dense(8)(source)
    x = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    x = layers.Attention()([x, x], use_causal_mask=True)
    made = compiled(settle(module.Model(source, layers.Dense(3)(layers.Flatten()(x)))), count=64)
    outputs = np.asarray(made.quantized.calibration.held_back.outputs)
    # 30 dB: what is masked does not take the codes of what is not.
    assert made.quantized.measured.mean_squared_error < outputs.var() / 1000
