"""Softmax within a model: a table of exponentials here, and within 1 code of both engines."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from compiling import compiled, settle
from interpreted import require_interpreted

from tinsmith_export.ir.attention import Softmax
from tinsmith_export.ir.softmax import SOFTMAX_PARAMS, exponentials, softmax_codes

L = keras.layers


def model(build: Any) -> keras.Model:
    """A convolution of an image, what is built of it, and a dense layer."""
    source = keras.Input((8, 8, 3))
    x = build(L.Conv2D(4, 3, padding="same", name="stem")(source))
    return settle(keras.Model(source, L.Dense(5, name="answer")(L.Flatten()(x))))


FORMS = {
    "of channels": lambda x: L.Softmax()(x),
    "of rows": lambda x: L.Softmax(axis=1)(x),
    "of a sequence": lambda x: L.Softmax(axis=1)(L.Reshape((32, 8))(x)),
    "times a tensor": lambda x: L.Multiply()([L.Softmax()(x), x]),
}


@pytest.mark.parametrize("form", FORMS)
def test_engines_are_within_one_code(form: str) -> None:
    made = compiled(model(FORMS[form]), count=60)
    (node,) = (node for node in made.quantized.graph.layers if isinstance(node, Softmax))
    assert made.quantized.ranges[node.name] == SOFTMAX_PARAMS
    assert made.parity.max_difference_lsb <= 1
    require_interpreted(made)


def test_the_last_activation_is_left_to_the_runtime() -> None:
    source = keras.Input((8, 8, 3))
    x = L.Dense(5, activation="softmax")(L.Flatten()(L.Conv2D(4, 3)(source)))
    made = compiled(settle(keras.Model(source, x)), count=60)
    assert made.output.activation == "softmax"
    assert not any(isinstance(node, Softmax) for node in made.quantized.graph.layers)


def test_one_of_one_is_the_last_code_and_equal_ones_share() -> None:
    table = exponentials(0.1)
    assert table[0] == 2**23
    assert (np.diff(table.astype(np.int64)) <= 0).all()
    codes = np.array([[5], [-128]], np.int8)
    np.testing.assert_array_equal(softmax_codes(codes, table), [[127], [127]])
    equal = np.full((1, 4), 17, np.int8)
    np.testing.assert_array_equal(softmax_codes(equal, table), [[-64] * 4])
