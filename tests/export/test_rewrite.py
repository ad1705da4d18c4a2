"""Each rewrite: what it makes, and that the rebuilt model gives what Keras gave."""

from typing import Any

import keras
import numpy as np
import pytest

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.graph import WEIGHTED, Graph
from tinsmith_export.reader import read_graph
from tinsmith_export.rebuild import rebuild
from tinsmith_export.rewrite import rewrite
from tinsmith_runtime.activation import ACTIVATIONS

L = keras.layers
TOLERANCE = 1e-4  # two Keras versions add in a different order


def model_of(*layers: keras.Layer, shape: tuple[int, ...] = (8, 8, 3)) -> keras.Model:
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input(shape), *layers])
    rng = np.random.default_rng(5)
    for layer in model.layers:
        # Statistics, scales and biases that a rewrite cannot lose unnoticed.
        for variable in layer.weights:
            if "kernel" not in variable.name:
                variable.assign(rng.uniform(0.5, 2.0, variable.shape))
    return model


def check(model: keras.Model) -> tuple[Graph, str]:
    graph, activation = rewrite(read_graph(model))
    inputs = np.random.default_rng(2).normal(size=(9, *model.input_shape[1:])).astype(np.float32)
    found = ACTIVATIONS[activation](np.asarray(rebuild(graph)(inputs)))
    np.testing.assert_allclose(found, model(inputs), rtol=TOLERANCE, atol=TOLERANCE)
    return graph, activation


def kinds(graph: Graph) -> list[str]:
    return [node.kind for node in graph.nodes[1:]]


def conv(**options: Any) -> keras.Layer:
    return L.Conv2D(4, 3, **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "epsilon": 0.1}])
@pytest.mark.parametrize(
    "layer",
    [
        lambda bias: conv(use_bias=bias, strides=2, padding="same"),
        lambda bias: L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=bias),
    ],
)
def test_batch_norm_folds_into_a_convolution(layer: Any, options: Any, bias: bool) -> None:
    norm = L.BatchNormalization(**options)
    graph, _ = check(model_of(layer(bias), norm, L.ReLU(), L.Flatten(), L.Dense(3)))
    assert "BatchNormalization" not in kinds(graph)
    assert len(kinds(graph)) == 3


def test_batch_norm_folds_into_a_dense_layer() -> None:
    norm = L.BatchNormalization
    dense = L.Dense(6, use_bias=False)
    graph, _ = check(model_of(L.Flatten(), dense, norm(), L.ReLU(), L.Dense(3), norm(axis=1)))
    assert kinds(graph) == ["Flatten", "Dense", "Dense"]


def test_batch_norms_in_a_row_fold_one_after_the_other() -> None:
    norm = L.BatchNormalization
    assert kinds(check(model_of(conv(), norm(), norm(), L.Flatten(), L.Dense(3)))[0]) == [
        "Conv2D",
        "Flatten",
        "Dense",
    ]


@pytest.mark.parametrize("axis", [1, 2])
def test_batch_norm_over_another_axis_is_refused(axis: int) -> None:
    # 4 channels, 4 rows: the shapes alone would fit.
    norm = L.BatchNormalization(axis=axis, name="odd")
    model = model_of(conv(), norm, L.Flatten(), L.Dense(3), shape=(6, 6, 1))
    with pytest.raises(UnsupportedLayerError, match=f"`odd`.*axis={axis}"):
        read_graph(model)


@pytest.mark.parametrize(
    "before",
    [
        [],
        [L.Conv2D(4, 3, activation="relu")],
        [L.Conv2D(4, 3), L.MaxPooling2D()],
    ],
)
def test_batch_norm_that_follows_no_product_becomes_one(before: list[keras.Layer]) -> None:
    layers = [*before, L.BatchNormalization(name="alone"), L.ReLU(), L.Flatten(), L.Dense(3)]
    graph, _ = check(model_of(*layers))
    alone = graph.node("alone")
    assert alone.kind == "DepthwiseConv2D"
    assert alone.config["activation"] == "relu"


def test_batch_norm_of_features_that_follows_no_product_is_refused() -> None:
    norm = L.BatchNormalization(name="alone")
    with pytest.raises(UnsupportedLayerError, match="`alone`"):
        rewrite(read_graph(model_of(L.Flatten(), norm, L.Dense(3))))


@pytest.mark.parametrize(
    "layers",
    [
        [L.AveragePooling2D((2, 3), strides=2), L.ReLU(), L.Flatten()],
        [L.GlobalAveragePooling2D()],
        [L.GlobalAveragePooling2D(keepdims=True), L.Flatten()],
    ],
)
def test_an_average_becomes_a_convolution(layers: list[keras.Layer]) -> None:
    graph, _ = check(model_of(conv(), *layers, L.Dense(3)))
    assert kinds(graph) == ["Conv2D", "DepthwiseConv2D", "Flatten", "Dense"]


@pytest.mark.parametrize("bias", [True, False])
def test_a_separable_convolution_becomes_two(bias: bool) -> None:
    separable = L.SeparableConv2D(
        5, 3, depth_multiplier=2, strides=2, padding="same", activation="relu", use_bias=bias
    )
    graph, _ = check(model_of(separable, L.BatchNormalization(), L.Flatten(), L.Dense(3)))
    assert kinds(graph)[:2] == ["DepthwiseConv2D", "Conv2D"]


def test_a_residual_sum_takes_its_relu() -> None:
    source = keras.Input((8, 8, 3))
    left = conv(padding="same", name="left")(source)
    right = L.Conv2D(4, 1, name="right")(source)
    total = L.ReLU()(L.Add(name="sum")([left, right]))
    again = L.Add(name="again")([total, left])
    model = keras.Model(source, L.Dense(3)(L.Flatten()(again)))
    graph, _ = check(model)
    assert graph.node("sum").config["activation"] == "relu"
    assert graph.node("again").inputs == ("sum", "left")
    assert "Activation" not in kinds(graph)


@pytest.mark.parametrize("six", [lambda: L.ReLU(max_value=6), lambda: L.Activation("relu6")])
@pytest.mark.parametrize("order", [1, -1])
def test_relu6_is_fused_and_stays_with_a_relu_beside_it(six: Any, order: int) -> None:
    both = [six(), L.ReLU()][::order]
    scaled = conv(kernel_initializer=keras.initializers.RandomNormal(stddev=9.0))
    model = model_of(scaled, *both, L.ZeroPadding2D(), L.Flatten(), L.Dense(3))
    graph, _ = check(model)
    assert graph.nodes[1].config["activation"] == "relu6"
    assert kinds(graph) == ["Conv2D", "ZeroPadding2D", "Flatten", "Dense"]


@pytest.mark.parametrize("relu", [L.ReLU, lambda: L.Activation("relu")])
def test_relu_is_fused(relu: Any) -> None:
    graph, _ = check(model_of(conv(), relu(), L.Flatten(), L.Dense(4), relu(), L.Dense(3)))
    assert kinds(graph) == ["Conv2D", "Flatten", "Dense", "Dense"]
    assert [node.config["activation"] for node in graph.weighted] == ["relu", "relu", "linear"]


def test_relu_moves_before_pooling_and_flattening() -> None:
    graph, _ = check(
        model_of(conv(name="first"), L.MaxPooling2D(), L.Flatten(), L.ReLU(), L.Dense(3))
    )
    assert kinds(graph) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
    assert graph.node("first").config["activation"] == "relu"


def test_relu_twice_is_relu_once() -> None:
    graph, _ = check(
        model_of(
            conv(activation="relu"), L.ReLU(), L.MaxPooling2D(), L.ReLU(), L.Flatten(), L.Dense(3)
        )
    )
    assert kinds(graph) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]


def test_layers_for_training_are_dropped() -> None:
    noise = [L.Dropout(0.5), L.SpatialDropout2D(0.5), L.GaussianNoise(1.0), L.GaussianDropout(0.5)]
    linear = L.Activation("linear")
    graph, _ = check(model_of(conv(), *noise, linear, L.ReLU(), L.Flatten(), L.Dense(3)))
    assert kinds(graph) == ["Conv2D", "Flatten", "Dense"]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ([L.Dense(3, activation="softmax")], "softmax"),
        ([L.Dense(3), L.Softmax()], "softmax"),
        ([L.Dense(3), L.Activation("softmax"), L.Dropout(0.1)], "softmax"),
        ([L.Dense(3, activation="sigmoid")], "sigmoid"),
        ([L.Dense(3), L.Activation("sigmoid")], "sigmoid"),
        ([L.Dense(3)], "none"),
        ([L.Dense(3, activation="relu")], "none"),
    ],
)
def test_the_last_activation_is_stripped(end: list[keras.Layer], expected: str) -> None:
    graph, activation = check(model_of(conv(), L.Flatten(), *end))
    assert activation == expected
    assert graph.nodes[-1].kind in WEIGHTED
    assert graph.nodes[-1].config["activation"] in ("linear", "relu")


def test_an_activation_inside_is_refused() -> None:
    model = model_of(L.Flatten(), L.Dense(3, activation="sigmoid", name="gate"), L.Dense(3))
    with pytest.raises(UnsupportedLayerError, match="`gate"):
        rewrite(read_graph(model))


def test_a_model_must_end_in_a_product() -> None:
    with pytest.raises(UnsupportedLayerError, match="ends in `last`"):
        rewrite(read_graph(model_of(conv(), L.MaxPooling2D(name="last"))))


def test_no_new_name_clashes_with_a_layers() -> None:
    first, second = conv(activation="relu", name="a"), conv(name="a_relu")
    graph, _ = check(model_of(first, second, L.Flatten(), L.Dense(3)))
    assert kinds(graph) == ["Conv2D", "Conv2D", "Flatten", "Dense"]
