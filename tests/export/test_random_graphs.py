"""Random small networks of the supported layers, compiled: Keras's outputs, integers, one answer.

25 networks, the same each time. With `TINSMITH_RANDOM_GRAPHS=500` in the environment, 500 others.
"""

import itertools
import os
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from compiling import compiled, model_file, rewritten, settle
from graph_operators import ENDS, READ, REWRITTEN, operators
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tinsmith_export.ir.interpret import tolerance_lsb
from tinsmith_export.ir.ops import Function
from tinsmith_export.passes.rewrite import FUNCTIONS as KNOWN_FUNCTIONS
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_export.verify.parity import compare, compare_on_random_codes

L, ops = keras.layers, keras.ops
SIDE, WORDS = 8, 300
COUNT = os.environ.get("TINSMITH_RANDOM_GRAPHS")
ACTIVATIONS = (
    *("linear", "relu", "relu6", "swish", "hard_swish", "hard_sigmoid"),
    *("gelu", "leaky_relu", "sigmoid", "tanh", "elu", "softplus", "selu", "softsign"),
)
PADDINGS = ("valid", "same")


@dataclass(frozen=True)
class Step:
    """One layer; what the numbers mean is said by `grow`."""

    kind: str
    size: int
    channels: int
    stride: int
    padding: str
    activation: str
    flag: bool


# Of one tensor. What grows fast has a limit before it: weights are anything here.
FUNCTIONS = (
    lambda x: ops.exp(L.ReLU(max_value=2)(x)),
    lambda x: ops.log(L.ReLU()(x) + 0.5),
    lambda x: ops.sqrt(L.ReLU()(x)),
    lambda x: ops.rsqrt(L.ReLU()(x) + 0.5),
    lambda x: x / (L.ReLU()(-x) + 0.5),
    ops.abs,
    ops.square,
    lambda x: L.ELU(0.5)(x),
    lambda x: L.ReLU(threshold=0.3)(x),
)
KINDS = (
    *("conv", "conv", "depthwise", "separable", "grouped", "dilated", "dense", "transposed"),
    *("norm", "activation", "max", "average", "up", "crop", "pad", "scale"),
    *("permute", "slice", "gather", "tile", "reflect", "resize"),
    *("function", "function", "extreme", "matmul", "softmax", "attention"),
    *("add", "add", "concatenate", "concatenate", "multiply", "excite", "layer_norm"),
    *("group_norm", "average_2", "mask", "stack", "constant", "power"),
)
steps = st.builds(
    Step,
    st.sampled_from(KINDS),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 2),
    st.sampled_from(PADDINGS),
    st.sampled_from(ACTIVATIONS),
    st.booleans(),
)


def grow(step: Step, x: Any, earlier: list[Any]) -> Any:
    """Puts a layer on a tensor, or leaves it where the layer does not fit."""
    rows, columns, channels = x.shape[1:]
    side = min(rows, columns)
    size = min(step.size, side)
    stride = {"strides": step.stride, "padding": step.padding}
    mates = [tensor for tensor in earlier if tensor.shape[1:3] == x.shape[1:3]]
    branch = L.Conv2D(channels, size, padding="same", activation=step.activation)
    match step.kind:
        case "conv":
            x = L.Conv2D(step.channels, size, use_bias=step.flag, **stride)(x)
            return L.Activation(step.activation)(L.BatchNormalization()(x))
        case "depthwise":
            return L.DepthwiseConv2D(size, depth_multiplier=1 + step.flag, **stride)(x)
        case "separable":
            return L.SeparableConv2D(step.channels, size, activation=step.activation, **stride)(x)
        case "grouped":
            return L.Conv2D(2 * channels, size, groups=channels if step.flag else 1, **stride)(x)
        case "dilated" if side > 2 * (size - 1):
            return L.Conv2D(step.channels, size, dilation_rate=2, padding=step.padding)(x)
        case "dense":
            return L.Dense(step.channels, activation=step.activation)(x)
        case "transposed" if side <= SIDE:
            strides = (step.stride, step.size) if step.flag else step.stride
            return L.Conv2DTranspose(step.channels, step.size, strides, padding=step.padding)(x)
        case "norm":
            return L.BatchNormalization()(x)
        case "layer_norm":
            return L.LayerNormalization(scale=step.flag, center=step.flag)(x)
        case "group_norm":
            groups = channels if step.flag else next(n for n in (3, 2, 1) if channels % n == 0)
            return L.GroupNormalization(groups, epsilon=0.1)(x)
        case "average_2":
            return L.AveragePooling2D(size, (step.stride, step.size), padding=step.padding)(x)
        case "activation":
            return L.Activation(step.activation)(x)
        case "max":
            return L.MaxPooling2D(size, **stride)(x)
        case "average":
            return L.AveragePooling2D(size, **stride)(x)
        case "up" if side <= SIDE:
            return L.UpSampling2D((1 + step.flag, step.stride))(x)
        case "crop" if side > 3:
            return L.Cropping2D(((step.size - 1, 0), (0, 1)))(x)
        case "pad" if side <= SIDE:
            return L.ZeroPadding2D(((0, step.size), (1, 0)))(x)
        case "permute":
            return L.Permute(list(itertools.permutations((1, 2, 3)))[step.channels - 1])(x)
        case "slice" if side > 3:
            return x[:, step.size - 1 :: step.stride, ::-1, channels // 2 :]
        case "gather":
            return ops.take(x, [step.channels % side, 0, 0], axis=1 + step.flag)
        case "tile" if side <= SIDE:
            return ops.tile(x, (1, 2, 1, 1) if step.flag else (1, 1, 1, step.size))
        case "reflect" if side > step.size:
            return ops.pad(x, ((0, 0), (step.size, 0), (0, 1), (0, 0)), mode="reflect")
        case "resize" if side <= SIDE:
            if step.flag:
                return L.UpSampling2D(step.size, interpolation="bilinear")(x)
            return L.Resizing(rows + step.stride, columns + 3 - step.size)(x)
        case "scale":
            return x * (step.size - 2.5) + (step.channels - 3.0)
        case "add" if step.flag and any(mate.shape == x.shape for mate in mates):
            return L.Add()([x, next(mate for mate in mates if mate.shape == x.shape)])
        case "add":
            return L.Activation("relu")(L.Add()([x, branch(x)])) if step.flag else x + branch(x)
        case "concatenate":
            if step.flag:
                return L.Concatenate()([x, mates[0]])
            return L.Concatenate(axis=step.size)([x, branch(x)])
        case "mask":
            kept = np.arange(rows)[:, None, None] % 2 < 1
            return ops.where(kept, x, 0.5 if step.flag else branch(x))
        case "stack" if side <= SIDE:
            stacked = ops.stack([x, branch(x)], axis=1 + step.flag)
            return ops.reshape(stacked, (-1, 2 * rows, columns, channels))
        case "constant":
            return ops.concatenate([x, ops.ones_like(x[:, :1]) * step.channels], axis=1)
        case "power":
            return ops.minimum(x, 2.0) ** step.size
        case "multiply":
            return L.Multiply()([x, branch(x)])
        case "function":
            return FUNCTIONS[(3 * step.channels + step.size) % len(FUNCTIONS)](x)
        case "extreme":
            return (ops.minimum if step.flag else ops.maximum)(x, branch(x))
        case "softmax":
            return L.Softmax(axis=-1 if step.flag else 1)(x)
        case "matmul":
            places = rows * columns
            left, right = (L.Reshape((places, channels))(one) for one in (x, branch(x)))
            if step.flag:
                return L.Reshape((rows, columns, places))(L.Dot((2, 2))([left, right]))
            return L.Reshape((channels, channels, 1))(L.Dot((1, 1))([left, right]))
        case "attention" if rows * columns <= SIDE**2:
            sequence = L.Reshape((rows * columns, channels))(x)
            mixed = L.MultiHeadAttention(1 + step.flag, step.channels)(sequence, sequence)
            return L.Reshape((rows, columns, channels))(mixed)
        case "excite":
            gate = L.GlobalAveragePooling2D(keepdims=True)(x)
            return x * L.Conv2D(channels, 1, activation="sigmoid")(gate)
    return x


def network(layers: list[Step], head: str, several: bool, seed: int) -> Any:
    """A network of these layers with weights and statistics that are anything.

    With several inputs there is an image more to meet, and what comes before the head, and before
    the last layer, are outputs too. The head `words` is a mean too, of an image that a table gives
    for whole numbers.
    """
    if head == "words":
        numbers = keras.Input((SIDE * SIDE,), dtype="int32")
        image = L.Reshape((SIDE, SIDE, 3))(L.Embedding(WORDS, 3)(numbers))
        x = image
        for step in layers:
            x = grow(step, x, [image])
        x = L.Dense(4)(L.GlobalAveragePooling2D()(x))
        return settle(keras.Model(numbers, x), seed)
    sources = [keras.Input((SIDE, SIDE, channels)) for channels in (2, 3)[: 1 + several]]
    x, earlier = L.Conv2D(3, 3, padding="same")(sources[0]), list(sources)
    if several:
        x = L.Add()([x, sources[1]])
    for step in layers:
        earlier.append(x)
        x = grow(step, x, earlier)
    more = [x, earlier[-1]] if several else []
    if head == "mean":
        x = L.GlobalAveragePooling2D()(x)
    if head != "image":
        x = L.Dense(4, activation="softmax" if seed % 2 else None)(L.Flatten()(x))
    return settle(keras.Model(sources, [x, *more]) if several else keras.Model(sources[0], x), seed)


@settings(
    max_examples=int(COUNT or 25),
    derandomize=COUNT is None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(steps, min_size=1, max_size=5),
    st.sampled_from(("flat", "mean", "image", "words")),
    st.booleans(),
    st.integers(0, 1000),
)
def test_a_random_network(layers: list[Step], head: str, several: bool, seed: int) -> None:
    keras.backend.clear_session()
    numbers = np.random.default_rng(seed).integers(0, WORDS, (64, SIDE**2), np.int32)
    inputs = numbers if head == "words" else None
    made = compiled(network(layers, head, several, seed), count=64, inputs=inputs)
    model = quant_graph(made.integers)
    in_float = any(tolerance_lsb(node, model.weights.get(node.name)) for node in model.graph.nodes)
    event("computed in float in part" if in_float else "on integers alone")
    files = [model_file(name, data) for name, data in made.files.items()]
    outputs = [run_batches(start_engine(file), made.codes) for file in files]
    for parity in (
        *compare(files, made.quantized.graph, made.codes, outputs, classes=False),
        *compare_on_random_codes(files, made.quantized.graph, seed, classes=False),
    ):
        # Behind the layer where the engines' floats differ, the difference may grow.
        lsb = parity.enters_lsb if in_float else None
        assert (parity.max_difference_lsb if lsb is None else lsb) <= in_float, parity


def test_every_operator_is_in_some_network() -> None:
    """So that a new one cannot be left out: nothing is converted, networks are only read."""
    names, kinds = list(dict.fromkeys(KINDS)), set[str]()
    functions = [
        Step("function", size, channels, 1, "same", "relu", True)
        for size in (1, 2, 3)
        for channels in (1, 2, 3)
    ]
    activations = [Step("activation", 1, 1, 1, "same", name, True) for name in ACTIVATIONS]
    layers = [Step(name, 2, 3, 1, "same", "relu", flag) for name in names for flag in (True, False)]
    larger = [Step("transposed", 2, 3, 2, "same", "relu", False)]
    for some in (functions, activations, larger):
        kinds |= kinds_of(some, "mean")
    kinds |= kinds_of(layers[:1], "words")
    for start in range(0, len(layers), 6):
        kinds |= kinds_of(layers[start : start + 6], "mean")
    wanted = {kind.__name__ for kind in operators()} - {"Function"} | set(KNOWN_FUNCTIONS)
    assert wanted - kinds == ENDS.keys() | READ.keys() | REWRITTEN.keys()


def kinds_of(layers: list[Step], head: str) -> set[str]:
    """The operators of a network, and the functions."""
    nodes = rewritten(network(layers, head, False, 0)).layers
    return {node.function if isinstance(node, Function) else node.kind for node in nodes}
