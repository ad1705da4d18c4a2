"""Attention: products of computed tensors, with a softmax between them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import pytest
import tf_keras
from compiling import compiled, rewritten, settle
from interpreted import require_interpreted

from tinsmith_export.ir.ops import DepthwiseConv2D

KERASES = pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras 3", "tf_keras"])


def block(library: Any, x: Any, heads: int) -> Any:
    """A block of a vision transformer (Dosovitskiy et al. 2021) on a sequence `(T, C)`."""
    layers, channels = library.layers, x.shape[-1]
    normal = layers.LayerNormalization()(x)
    attention = layers.MultiHeadAttention(heads, channels // heads, name="attention")
    x = layers.Add()([x, attention(normal, normal)])
    hidden = layers.Dense(2 * channels, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(channels)(hidden)])


def transformer(library: Any, heads: int) -> Any:
    """Patches of 4 x 4 pixels, a block, their mean, and a dense layer."""
    layers = library.layers
    source = library.Input((16, 16, 3))
    patches = layers.Conv2D(16, 4, strides=4, name="patches")(source)
    x = block(library, layers.Reshape((16, 16))(patches), heads)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return settle(library.Model(source, layers.Dense(5, name="answer")(x)))


@KERASES
@pytest.mark.parametrize("heads", [1, 4])
def test_a_block_of_a_vision_transformer(library: Any, heads: int) -> None:
    made = compiled(transformer(library, heads), count=64)
    require_interpreted(made)
    kinds = Counter(node.kind for node in made.quantized.graph.nodes)
    assert (kinds["MatMul"], kinds["Softmax"]) == (2, 1)
    # Layers that float decides, one behind the other: what differs by 1 there grows.
    assert made.parity.top1_agreement is None or made.parity.top1_agreement >= 0.95


@KERASES
def test_factor_and_biases_become_part_of_the_dense_layers(library: Any) -> None:
    """Queries, keys, values and the output are one layer each: nothing else is requantized."""
    source = library.Input((16, 8))
    x = library.layers.MultiHeadAttention(2, 4, name="attention")(source, source)
    graph = rewritten(settle(library.Model(source, library.layers.Dense(3)(x))))
    assert len(graph.weighted) == 5
    assert not any(isinstance(node, DepthwiseConv2D) for node in graph.nodes)


def test_queries_of_one_tensor_and_keys_of_another() -> None:
    layers = keras.layers
    source = keras.Input((8, 8, 3))
    one = layers.Reshape((16, 8))(layers.Conv2D(8, 2, strides=2)(source))
    other = layers.Reshape((4, 8))(layers.Conv2D(8, 4, strides=4)(source))
    x = layers.MultiHeadAttention(2, 4, value_dim=3, output_shape=6)(one, other)
    made = compiled(settle(keras.Model(source, layers.Dense(3)(layers.Flatten()(x)))), count=64)
    require_interpreted(made)
    assert made.parity.max_difference_lsb <= 2
