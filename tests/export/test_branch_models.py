"""Whole models with sums and products, compiled: the engines are equal to the bit."""

from collections.abc import Callable
from typing import Any

import keras
import pytest
from compiling import compiled, model_file, settle
from interpreted import require_interpreted

from tinsmith_export.verify.parity import compare_on_random_codes

L = keras.layers


def conv(channels: int = 6, **options: Any) -> Any:
    return L.Conv2D(channels, 3, padding="same", **options)


def two_sums(image: Any) -> Any:
    x = conv(activation="relu")(image)
    x = L.ReLU()(x + conv()(x))
    return x + conv()(conv(activation="relu")(x))


def sums_of_sums(image: Any) -> Any:
    x, y = (L.Add()([conv()(image), conv(activation="relu")(image)]) for _ in range(2))
    return L.ReLU()(x + y)


def u_net(image: Any) -> Any:
    top = conv(activation="relu")(image)
    top = top + conv()(top)
    bottom = conv(12, activation="relu")(L.MaxPooling2D()(top))
    bottom = L.ReLU()(bottom + conv(12)(bottom))
    merged = L.Concatenate()([top, L.UpSampling2D()(conv()(bottom))])
    x = conv(activation="relu")(merged)
    return L.Concatenate()([x + conv()(x), top])


def squeeze_and_excite(image: Any) -> Any:
    stream = conv()(image)
    for _ in range(2):
        x = conv(activation="relu")(stream)
        gate = L.Conv2D(6, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
        stream = stream + x * gate
    return stream


def swishes(image: Any) -> Any:
    x = conv(activation="swish")(image)
    return x + L.Activation("swish")(x + conv(activation="hard_swish")(x))


def twice(image: Any) -> Any:
    x = conv()(image)
    return L.Add()([x, x]) + x * x


def an_input(image: Any) -> Any:
    return L.ReLU(6.0)(image + conv(3)(image)) + conv(3, activation="sigmoid")(image)


def long_way(image: Any) -> Any:
    first = conv()(image)
    x = first + conv(activation="relu")(first)
    return first + (x + conv()(x))


def gates(image: Any) -> Any:
    one, other = conv(activation="sigmoid")(image), conv(activation="tanh")(image)
    return L.Add()([one, other]) + L.Add()([one, conv(activation="sigmoid")(image)])


def no_image(image: Any) -> Any:
    x = L.Dense(8, activation="sigmoid")(L.Flatten()(image))
    y = L.Add()([x, L.Dense(8, activation="tanh")(x)])
    return y + x * L.Dense(8)(y)


# How many branches each has to requantize.
REQUANTIZED: dict[Callable[[Any], Any], int] = {
    two_sums: 0,
    sums_of_sums: 0,
    u_net: 0,
    squeeze_and_excite: 0,
    swishes: 1,
    twice: 1,
    an_input: 2,
    long_way: 1,
    gates: 2,
    no_image: 1,
}


@pytest.mark.parametrize("build", REQUANTIZED)
def test_the_engines_are_equal_to_the_bit(build: Callable[[Any], Any]) -> None:
    keras.backend.clear_session()
    image = keras.Input((8, 8, 3))
    made = compiled(settle(keras.Model(image, build(image))), count=64)
    assert made.parity.equal == made.parity.compared
    graph = made.quantized.graph
    files = [model_file(name, data) for name, data in made.files.items()]
    for parity in compare_on_random_codes(files, graph, 3, classes=False):
        assert parity.equal == parity.compared
    require_interpreted(made)
    assert len(graph.weighted) - len(made.graph.weighted) == REQUANTIZED[build]
