"""Operators that move numbers: every target gives the same codes behind each of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from compiling import compiled, settle

from tinsmith_export.ir.interpret import interpret
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.registry import TARGETS

L = keras.layers
ops = keras.ops

# What is computed of the output of a convolution, `(6, 8, 4)`, and the operator that it becomes.
FORMS = {
    "all dimensions in another order": ("Transpose", lambda x: L.Permute((3, 1, 2))(x)),
    "rows and columns": ("Transpose", lambda x: L.Permute((2, 1, 3))(x)),
    "five dimensions": (
        "Transpose",
        lambda x: L.Permute((1, 3, 2, 4))(L.Reshape((3, 2, 8, 4))(x)),
    ),
    "rows behind each other": ("Concatenate", lambda x: L.Concatenate(axis=1)([x, L.ReLU()(x)])),
    "columns of a sequence": (
        "Concatenate",
        lambda x: L.Concatenate(axis=1)([L.Reshape((48, 4))(x), L.Reshape((48, 4))(L.ReLU()(x))]),
    ),
    "every second row backwards": ("Slice", lambda x: x[:, ::-2]),
    "the last channels": ("Slice", lambda x: x[..., 2:]),
    "one row": ("Slice", lambda x: x[:, 3]),
    "channels split": ("Slice", lambda x: ops.split(x, 2, axis=-1)[1]),
    "channels taken": ("Gather", lambda x: ops.take(x, [3, 0, 0], axis=-1)),
    "rows rolled": ("Gather", lambda x: ops.roll(x, 2, axis=1)),
    "a reflection": (
        "Gather",
        lambda x: ops.pad(x, ((0, 0), (2, 1), (1, 0), (0, 0)), mode="reflect"),
    ),
}


def model(build: Any) -> keras.Model:
    """A convolution, what is built of it, and a dense layer."""
    source = keras.Input((6, 8, 3))
    x = build(L.Conv2D(4, 3, padding="same", name="stem")(source))
    return settle(keras.Model(source, L.Dense(5, name="answer")(L.Flatten()(x))))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_codes_in_every_target(form: str) -> None:
    kind, build = FORMS[form]
    made = compiled(model(build), count=64)
    graph = made.quantized.graph
    wanted = interpret(quant_graph(made.integers), made.codes)
    names = [node.name for node in graph.layers if node.kind == kind]
    assert names
    for target in TARGETS:
        found = target.layer_outputs(made.files[f"model.int8.{target.ending}"], graph, made.codes)
        for name in names:
            codes = found[name].reshape(wanted[name].shape)
            np.testing.assert_array_equal(codes, wanted[name], err_msg=target.name)
    assert made.parity.equal == made.parity.compared


@pytest.mark.parametrize("size", [(12, 24), (9, 8), (3, 5)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_resizing_is_on_integers_in_every_target(size: tuple[int, int], interpolation: str) -> None:
    made = compiled(model(L.Resizing(*size, interpolation=interpolation)), count=64)
    assert made.parity.equal == made.parity.compared
    kinds = {node.kind for node in made.quantized.graph.layers}
    assert kinds <= {
        *("Conv2D", "DepthwiseConv2D", "Gather", "Reshape", "Slice", "Transpose"),
        "UpSampling2D",
    }
