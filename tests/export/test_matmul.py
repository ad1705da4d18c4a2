"""Products of two computed tensors: what they are read as, and one answer in every target."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from compiling import Compiled, compiled, rewritten, settle
from interpreted import require_interpreted

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.ops import DepthwiseConv2D
from tinsmith_export.targets.registry import TARGETS

L = keras.layers


def model(build: Any) -> keras.Model:
    """Two tensors of one image, `(16, 16)` and `(16, 12)`, and what is built of both."""
    source = keras.Input((8, 8, 3))
    rows = L.Reshape((16, 16))(L.Conv2D(4, 3, padding="same", name="left")(source))
    others = L.Reshape((16, 12))(L.Conv2D(3, 3, padding="same", name="right")(source))
    return settle(keras.Model(source, L.Dense(5, name="answer")(L.Flatten()(build(rows, others)))))


class Sum(keras.layers.Layer):
    """Einstein's sum of two tensors."""

    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def call(self, inputs: Any) -> Any:
        return keras.ops.einsum(self.equation, *inputs)


FORMS = {
    "rows by columns": lambda x, y: L.Dot((2, 1), name="product")([x, y]),
    "columns by rows": lambda x, y: L.Dot((1, 1), name="product")([x, y]),
    "a tensor by itself": lambda x, y: L.Dot((2, 2), name="product")([x, x]),
    "a tensor by itself, twice": lambda x, y: L.Concatenate()(
        [L.Dot((2, 2), name="product")([x, x]), L.ReLU()(L.Dot((2, 2), name="again")([x, x]))]
    ),
    "the same twice, in part behind each other": lambda x, y: L.Add()(
        [L.Dot((2, 1), name="product")([x, y]), L.Dot((2, 1), name="again")([x, y])]
    ),
    "a ReLU on the right": lambda x, y: L.Dot((2, 1), name="product")([x, L.ReLU()(y)]),
    "a sigmoid on the right": lambda x, y: L.Dot((2, 1))([x, L.Activation("sigmoid")(y)]),
    "before a ReLU": lambda x, y: L.ReLU()(L.Dot((2, 1), name="product")([x, y])),
    "one behind another": lambda x, y: L.Dot((1, 1))([L.Dot((2, 1))([x, y]), y]),
    "times a number": lambda x, y: L.Dot((2, 1))([L.Dense(16, name="rows")(x), y]) * 0.25,
    "heads": lambda x, y: Sum("abhc,adhc->ahbd")(
        [L.Reshape((16, 2, 8))(x), L.Reshape((12, 2, 8))(y)]
    ),
    "another order": lambda x, y: Sum("abc,abd->adc")([x, y]),
    "weights": lambda x, y: L.EinsumDense("abc,cde->aebd", (3, 16, 2), bias_axes="d")(x),
}


def products(made: Compiled) -> list[MatMul]:
    return [node for node in made.quantized.graph.layers if isinstance(node, MatMul)]


@pytest.mark.parametrize("form", FORMS)
def test_every_target_gives_the_same_codes(form: str) -> None:
    made = compiled(model(FORMS[form]), count=60)
    assert made.parity.max_difference_lsb == 0
    require_interpreted(made)
    for node in products(made):
        assert made.quantized.ranges[node.inputs[1]].zero_point == 0
    assert len(products(made)) == (form != "weights") + (form == "one behind another")
    for target in TARGETS:
        assert sum(made.kernels[target.name].values()) == len(made.quantized.graph.products)


def test_a_relu_on_the_right_is_requantized() -> None:
    """Its clamp is code -128, and the second tensor has zero point 0."""
    made = compiled(model(FORMS["a ReLU on the right"]), count=60)
    (product,) = products(made)
    graph = made.quantized.graph
    (source,) = graph.sources(product.inputs[1])
    assert isinstance(graph.node(source), DepthwiseConv2D)


def test_a_factor_becomes_part_of_what_comes_before() -> None:
    graph = rewritten(model(FORMS["times a number"]))
    plain = rewritten(model(lambda x, y: L.Dot((2, 1))([L.Dense(16, name="rows")(x), y])))
    assert [node.kind for node in graph.nodes] == [node.kind for node in plain.nodes]
    kernels = [next(n for n in one.weighted if n.name == "rows").kernel for one in (graph, plain)]
    np.testing.assert_allclose(kernels[0], kernels[1] * 0.25, rtol=1e-6)


def test_what_mixes_images_is_refused() -> None:
    source = keras.Input((4,))
    x = L.Dense(4)(source)
    mixed = keras.Model(source, keras.ops.matmul(keras.ops.transpose(x), x))
    with pytest.raises(UnsupportedLayerError, match="leaves the images apart"):
        rewritten(mixed)
