"""Each rewrite: what it makes, that Keras's outputs stay, and that nothing else does its work."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from compiling import compiled, require_same_outputs, rewritten, settle

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.ir import ops
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Transpose
from tinsmith_export.ir.ops import InputLayer, Node, OutputLayer, Reshape
from tinsmith_export.ir.shapes import require_shapes
from tinsmith_export.passes import rewrite
from tinsmith_export.passes.transpositions import move_transpositions
from tinsmith_export.quantize import recipe

L = keras.layers
SHAPE = (8, 8, 3)


def model_of(*layers: keras.Layer, shape: tuple[int, ...] = SHAPE) -> keras.Model:
    return settle(keras.Sequential([keras.Input(shape), *layers]))


def clip(node: Node) -> ops.Clipping:
    assert isinstance(node, ops.Clipped)
    return node.clip


def conv(filters: int = 4, size: int = 3, **options: Any) -> keras.Layer:
    return L.Conv2D(filters, size, **options)


def functional(build: Callable[[Any], Any]) -> keras.Model:
    source = keras.Input(SHAPE)
    return settle(keras.Model(source, build(source)))


def square_of_rows(source: Any) -> Any:
    x = conv()(source)
    x = L.Reshape((-1, x.shape[-1]))(x)
    return L.Dense(3)(L.Flatten()(keras.ops.square(x)[:, 1:]))


def check(model: keras.Model) -> Graph:
    graph = rewritten(model)
    inputs = np.random.default_rng(2).normal(size=(9, *model.input_shape[1:])).astype(np.float32)
    require_same_outputs(graph, model, inputs)
    return graph


def kinds(graph: Graph) -> list[str]:
    """The layers that compute; a dense layer is a convolution between two reshapes."""
    return [node.kind for node in graph.layers if node.kind != "Reshape"]


def gelu_model() -> keras.Model:
    return model_of(conv(activation="gelu"))


def hard_swish(x: Any) -> Any:
    x = conv()(x)
    return conv()(L.Multiply()([x, L.Rescaling(1 / 6)(L.ReLU(max_value=6)(x + 3.0))]))


def relu6_of_a_concatenation(x: Any) -> Any:
    return conv()(L.ReLU(max_value=6)(L.Concatenate()([conv()(x), conv()(x)])))


def scores_of_attention(x: Any) -> Any:
    rows, others = (L.Reshape((36, 4))(conv()(x)) for _ in range(2))
    return L.Dot((2, 2))([rows, others]) * 0.5


norm = L.BatchNormalization
# Rewrite to a model that needs it, and the layers that it becomes.
NEEDED: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "join_reshapes": (
        lambda: model_of(conv(), L.Reshape((12, 12)), L.Flatten(), L.Dense(3)),
        ["Conv2D", "Reshape", "Conv2D", "Reshape"],
    ),
    "strip_output_activations": (
        lambda: model_of(conv(), L.Flatten(), L.Dense(3, activation="softmax")),
        ["Conv2D", "Reshape", "Conv2D", "Reshape"],
    ),
    "join_upsamplings": (
        lambda: model_of(conv(), L.UpSampling2D((2, 3))),
        ["Conv2D", "UpSampling2D"],
    ),
    "merge_affines": (
        lambda: model_of(norm(), L.Rescaling(3.0, 1.0), conv(padding="same")),
        ["DepthwiseConv2D", "Conv2D"],
    ),
    "find_gelu": (gelu_model, ["Conv2D", "Function"]),
    "split_leaky_relu": (
        lambda: model_of(conv(), L.LeakyReLU(0.2)),
        ["Conv2D", "DepthwiseConv2D", "DepthwiseConv2D", "Add"],
    ),
    "pool_by_convolution": (
        lambda: model_of(conv(), L.AveragePooling2D(2)),
        ["Conv2D", "DepthwiseConv2D"],
    ),
    "spread_dilation": (
        lambda: model_of(conv(), conv(dilation_rate=2)),
        ["Conv2D", "Conv2D"],
    ),
    "swap_affine": (
        lambda: functional(hard_swish),
        ["Conv2D", "DepthwiseConv2D", "Multiply", "Conv2D"],
    ),
    "hoist_factor": (
        lambda: functional(scores_of_attention),
        ["Conv2D", "Conv2D", "Transpose", "MatMul"],
    ),
    "hoist_clips": (
        lambda: model_of(conv(), L.MaxPooling2D(), L.ReLU(max_value=6)),
        ["Conv2D", "MaxPooling2D"],
    ),
    "fold_affine": (lambda: model_of(conv(), norm(), L.ReLU()), ["Conv2D"]),
    "fold_channel_order": (
        lambda: functional(lambda x: L.Flatten()(conv()(L.ZeroPadding2D()(x[..., ::-1] + 1.0)))),
        ["DepthwiseConv2D", "ZeroPadding2D", "Conv2D"],
    ),
    "fold_affine_forward": (
        lambda: model_of(conv(activation="relu"), norm(), conv()),
        ["Conv2D", "Conv2D"],
    ),
    "affine_by_convolution": (
        lambda: model_of(norm(), conv(padding="same")),
        ["DepthwiseConv2D", "Conv2D"],
    ),
    "fuse_clips": (lambda: model_of(conv(activation="relu6"), conv()), ["Conv2D", "Conv2D"]),
    "split_clips": (
        lambda: functional(relu6_of_a_concatenation),
        ["Conv2D", "Conv2D", "Concatenate", "DepthwiseConv2D", "Conv2D"],
    ),
    "dense_by_convolution": (
        lambda: model_of(conv(), L.Dense(5)),
        ["Conv2D", "Conv2D"],
    ),
    "square_before_reshape": (
        lambda: functional(square_of_rows),
        ["Conv2D", "Multiply", "Reshape", "Slice", "Reshape", "Conv2D", "Reshape"],
    ),
}


def all_kinds(graph: Graph) -> list[tuple[Any, ...]]:
    return [
        (node.kind, getattr(node, "dilation_rate", None), node.kernel.shape)
        if node in graph.weighted
        else (node.kind,)
        for node in graph.layers
    ]


def disable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("join_reshapes", "strip_output_activations"):
        monkeypatch.setattr(rewrite, name, lambda graph: graph)
        return
    found = 0
    for group in ("REWRITES", "FOLDS", "LAST"):
        steps = getattr(rewrite, group)
        left = tuple(step for step in steps if step.__name__ != name)
        found += len(steps) - len(left)
        monkeypatch.setattr(rewrite, group, left)
    assert found


def test_every_rewrite_is_tried() -> None:
    steps = {step.__name__ for step in (*rewrite.REWRITES, *rewrite.FOLDS, *rewrite.LAST)}
    assert steps | {"join_reshapes", "strip_output_activations"} == set(NEEDED)


@pytest.mark.parametrize("name", NEEDED)
def test_a_rewrite_does_what_no_other_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, expected = NEEDED[name]
    model = build()
    graph = check(model)
    found = [node.kind for node in graph.layers]
    assert (found if "Reshape" in expected else kinds(graph)) == expected
    disable(name, monkeypatch)
    try:
        other = rewritten(model)
    except UnsupportedLayerError:
        return
    assert all_kinds(other) != all_kinds(graph)
    if name != "strip_output_activations":
        check(model)  # it only does its own part: the others are right without it


def test_separate_keeps_a_relu_in_a_concatenation(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(source: Any) -> Any:
        parts = [conv(activation="relu", name="positive")(source), conv(name="any")(source)]
        return L.Dense(3)(L.Flatten()(L.Concatenate()(parts)))

    model = functional(build)

    def noise() -> float:
        made = compiled(model)
        reals = made.entry.reals(made.inputs)
        found = made.quantized.model.predict(reals, verbose=0)
        return float(np.square(found - np.asarray(model(reals))).mean() ** 0.5)

    right = noise()
    monkeypatch.setattr(recipe, "separate", lambda graph, observed, _: (graph, observed))
    # Without a range of its own nothing is left of the ReLU.
    assert noise() > 5 * right


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: L.Dense(3)(L.Flatten()(norm()(x[..., ::-1]))), ["Conv2D"]),
        (lambda x: conv()(keras.ops.take(x, [1, 2, 0], -1)), ["Conv2D"]),
        # A dimension that is no channel, one channel twice, and what has no weights for them all.
        (lambda x: conv()(x[:, ::-1]), ["Slice", "Conv2D"]),
        (lambda x: conv()(keras.ops.take(x, [0, 0, 2], -1)), ["Gather", "Conv2D"]),
        (lambda x: L.DepthwiseConv2D(3)(x[..., ::-1]), ["Slice", "DepthwiseConv2D"]),
        (lambda x: conv(6, groups=2)(conv(4)(x)[..., ::-1]), ["Conv2D", "Slice", "Conv2D"]),
    ],
)
def test_an_order_of_channels_is_one_of_weights(
    build: Callable[[Any], Any], expected: list[str]
) -> None:
    assert kinds(check(functional(build))) == expected


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "epsilon": 0.1}])
@pytest.mark.parametrize(
    "layer",
    [
        lambda bias: conv(use_bias=bias, strides=2, padding="same"),
        lambda bias: L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=bias),
        lambda bias: L.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=bias),
        lambda bias: L.Conv2D(6, 3, groups=3, use_bias=bias),
    ],
)
def test_batch_norm_folds_into_a_convolution(layer: Any, options: Any, bias: bool) -> None:
    graph = check(model_of(layer(bias), norm(**options), L.ReLU()))
    assert len(graph.weighted) == 1
    assert graph.weighted[0].clip == (0.0, None)
    assert not {"Affine", "Clip"} & set(kinds(graph))


def test_batch_norm_folds_into_a_dense_layer() -> None:
    dense = L.Dense(6, use_bias=False)
    graph = check(model_of(L.Flatten(), dense, norm(), L.ReLU(), L.Dense(3), norm(axis=1)))
    assert kinds(graph) == ["Conv2D", "Conv2D"]


def test_batch_norm_folds_into_layer_normalization() -> None:
    graph = check(model_of(conv(), L.LayerNormalization(), norm()))
    assert kinds(graph) == ["Conv2D", "LayerNormalization"]


@pytest.mark.parametrize(
    "layers",
    [
        [L.AveragePooling2D((2, 3), strides=2), L.ReLU(), L.Flatten()],
        [L.GlobalAveragePooling2D()],
        [L.GlobalAveragePooling2D(keepdims=True), L.Flatten()],
    ],
)
def test_an_average_becomes_a_convolution(layers: list[keras.Layer]) -> None:
    graph = check(model_of(conv(), *layers, L.Dense(3)))
    assert kinds(graph) == ["Conv2D", "DepthwiseConv2D", "Conv2D"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("side", [7, 8])
def test_a_padded_average_counts_the_image_alone(side: int, size: int, stride: int) -> None:
    pool = L.AveragePooling2D(size, strides=stride, padding="same")
    graph = check(model_of(conv(padding="same"), pool, shape=(side, side, 3)))
    padded = (size, stride, side) != (2, 2, 8)
    assert kinds(graph) == ["Conv2D", "DepthwiseConv2D", *(["Weigh"] if padded else [])]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_transposed_convolution_of_any_size(size: int, stride: int, padding: str) -> None:
    up = L.Conv2DTranspose(2, size, strides=stride, padding=padding)
    graph = check(model_of(conv(), up, L.ReLU()))
    assert ("DepthToSpace" in kinds(graph)) == (stride > 1)
    assert len(graph.weighted) == 2


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [7, 8])
def test_a_dilated_convolution(kind: str, padding: str, side: int) -> None:
    size = (4, 3) if kind == "Conv2D" else (3,)
    layer = getattr(L, kind)(*size, dilation_rate=2, padding=padding)
    graph = check(model_of(conv(padding="same"), layer, shape=(side, side, 3)))
    assert kinds(graph) == ["Conv2D", kind]


@pytest.mark.parametrize("bias", [True, False])
def test_a_separable_convolution_becomes_two(bias: bool) -> None:
    separable = L.SeparableConv2D(
        5, 3, depth_multiplier=2, strides=2, padding="same", activation="relu", use_bias=bias
    )
    graph = check(model_of(separable, norm(), L.Flatten(), L.Dense(3)))
    assert kinds(graph)[:2] == ["DepthwiseConv2D", "Conv2D"]


def test_a_residual_sum_takes_its_relu() -> None:
    def build(source: Any) -> Any:
        left = conv(padding="same", name="left")(source)
        right = conv(size=1, name="right")(source)
        total = L.ReLU()(L.Add(name="sum")([left, right]))
        return L.Dense(3)(L.Flatten()(L.Add(name="again")([total, left])))

    graph = check(functional(build))
    assert clip(graph.node("sum")) == (0.0, None)
    assert graph.node("again").inputs == ("sum", "left")
    assert "Clip" not in kinds(graph)


@pytest.mark.parametrize("six", [lambda: L.ReLU(max_value=6), lambda: L.Activation("relu6")])
@pytest.mark.parametrize("order", [1, -1])
def test_relu6_is_fused_and_stays_with_a_relu_beside_it(six: Any, order: int) -> None:
    both = [six(), L.ReLU()][::order]
    graph = check(model_of(L.Rescaling(9.0), conv(), *both, L.ZeroPadding2D()))
    assert clip(graph.nodes[1]) == (0.0, 6.0)
    assert kinds(graph) == ["Conv2D", "ZeroPadding2D"]


def test_relu_twice_is_relu_once() -> None:
    layers = [conv(activation="relu"), L.ReLU(), L.MaxPooling2D(), L.ReLU()]
    graph = check(model_of(*layers, L.Flatten(), L.Dense(3)))
    assert kinds(graph) == ["Conv2D", "MaxPooling2D", "Conv2D"]


def test_layers_for_training_are_dropped() -> None:
    noise = [L.Dropout(0.5), L.SpatialDropout2D(0.5), L.GaussianNoise(1.0), L.GaussianDropout(0.5)]
    graph = check(model_of(conv(), *noise, L.Activation("linear"), L.ReLU()))
    assert kinds(graph) == ["Conv2D"]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ([L.Dense(3, activation="softmax")], "softmax"),
        ([L.Dense(3), L.Softmax()], "softmax"),
        ([L.Dense(3), L.Activation("softmax"), L.Dropout(0.1)], "softmax"),
        ([L.Dense(3, activation="sigmoid")], "sigmoid"),
        ([L.Dense(3)], "none"),
        ([L.Dense(3, activation="relu")], "none"),
    ],
)
def test_the_last_activation_is_stripped(end: list[keras.Layer], expected: str) -> None:
    graph = check(model_of(conv(), L.Flatten(), *end))
    assert graph.outputs[0].activation == expected
    assert kinds(graph) == ["Conv2D", "Conv2D"]


def test_no_new_name_clashes_with_a_layers() -> None:
    layers = [conv(name="a", activation="relu"), conv(name="a_relu"), L.Dense(3, name="a_image")]
    graph = check(model_of(*layers))
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)
    assert {"a", "a_relu", "a_image"} <= set(names)


def transposed(*axes: tuple[int, ...]) -> tuple[Node, ...]:
    """What is left of transpositions of an image `(4, 1, 3)`."""
    nodes: list[Node] = [InputLayer("input", (), (4, 1, 3))]
    for number, order in enumerate(axes):
        shape = tuple(nodes[-1].shape[axis] for axis in order)
        nodes.append(Transpose(f"t{number}", (nodes[-1].name,), shape, permutation=order))
    output = OutputLayer("output", (nodes[-1].name,), nodes[-1].shape, title="y")
    return move_transpositions(Graph((*nodes, output))).layers


def test_transpositions_in_a_row_are_one_and_what_moves_nothing_is_a_reshape() -> None:
    (one,) = transposed((2, 0, 1), (2, 1, 0))
    assert isinstance(one, Reshape)
    assert one.shape == (1, 4, 3)
    (one,) = transposed((2, 0, 1), (0, 2, 1))
    assert isinstance(one, Transpose)
    assert (one.permutation, one.inputs) == ((2, 1, 0), ("input",))
    assert not transposed((2, 0, 1), (1, 2, 0))


def test_transpositions_go_behind_what_computes_in_any_order() -> None:
    first, shape = (2, 0, 1), (3, 4, 5)
    inputs = [InputLayer(name, (), (4, 5, 3)) for name in "ab"]
    nodes = (
        *(Transpose(f"{one.name}/t", (one.name,), shape, permutation=first) for one in inputs),
        ops.Clip("clip", ("a/t",), shape, clip=ops.RELU),
        ops.Concatenate("joined", ("clip", "b/t"), (6, 4, 5), axis=0),
        Transpose("back", ("joined",), (4, 5, 6), permutation=(1, 2, 0)),
    )
    graph = Graph((*inputs, *nodes, OutputLayer("output", ("back",), (4, 5, 6), title="y")))
    found = move_transpositions(graph)
    require_shapes(found)
    clipped, joined = found.layers
    assert isinstance(clipped, ops.Clip)
    assert isinstance(joined, ops.Concatenate)
    assert (joined.axis, joined.inputs) == (2, ("clip", "b"))


def test_a_transposition_that_another_layer_reads_stays_for_it() -> None:
    source, shape = InputLayer("input", (), (4, 5, 3)), (3, 4, 5)
    nodes = (
        Transpose("first", ("input",), shape, permutation=(2, 0, 1)),
        Transpose("last", ("first",), (4, 5, 3), permutation=(1, 2, 0)),
        ops.Clip("clip", ("last",), (4, 5, 3), clip=ops.RELU),
        Reshape("rows", ("first",), (3, 20)),
    )
    ends = (
        OutputLayer("y", ("clip",), (4, 5, 3), title="y"),
        OutputLayer("z", ("rows",), (3, 20), title="z"),
    )
    found = move_transpositions(Graph((source, *nodes, *ends)))
    require_shapes(found)
    assert [node.name for node in found.layers] == ["first", "clip", "rows"]
    assert found.node("clip").inputs == ("input",)
