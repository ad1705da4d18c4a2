"""From a Keras model to a graph: one input, one output, layers by name."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tf_keras

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.graph import POOLING, WEIGHTED, Graph, Node
from tinsmith_runtime.errors import TinsmithError

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.-]*")
_MODELS = {
    keras.Sequential: keras.Model,
    keras.src.models.Functional: keras.Model,
    tf_keras.Sequential: tf_keras.Model,
    tf_keras.src.engine.functional.Functional: tf_keras.Model,
}
_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias", "activation")
# The arguments that each supported layer is rebuilt with. What a layer does in training alone
# (dropout) has none.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "InputLayer": (),
    "Conv2D": ("filters", *_CONV),
    "DepthwiseConv2D": ("depth_multiplier", *_CONV),
    "SeparableConv2D": ("filters", "depth_multiplier", *_CONV),
    "Dense": ("units", "use_bias", "activation"),
    "BatchNormalization": ("axis", "epsilon"),
    "ReLU": ("max_value",),
    "Activation": ("activation",),
    "Softmax": (),
    "Add": (),
    "Concatenate": ("axis",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": ("keepdims",),
    "ZeroPadding2D": ("padding",),
    "Flatten": (),
    "Reshape": ("target_shape",),
    "Dropout": (),
    "SpatialDropout2D": (),
    "GaussianNoise": (),
    "GaussianDropout": (),
}


def read_graph(model: Any) -> Graph:
    """Reads a model of Keras 3 or tf_keras, layer by layer.

    Args:
        model: functional or sequential, built, one image input `(None, H, W, C)`, one output.

    Raises:
        UnsupportedLayerError: a layer that cannot be compiled, by name.
        TinsmithError: the model is of another form, or holds weights that are not finite.
    """
    functional = _MODELS.get(type(model))
    if functional is None or not getattr(model, "inputs", None):
        raise TinsmithError(
            f"{model.name}: expected a functional or sequential model with an input shape, "
            f"got {type(model).__name__}"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TinsmithError(
            f"{model.name}: expected one input and one output, "
            f"got {len(model.inputs)} and {len(model.outputs)}"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or None in shape[1:]:
        raise TinsmithError(f"{model.name}: expected an input (None, H, W, C), got {shape}")
    flat = functional(model.inputs, model.outputs)
    nodes = [
        _read_layer(flat.get_layer(entry["name"]), entry) for entry in flat.get_config()["layers"]
    ]
    return _sorted(nodes, shape)


def _read_layer(layer: keras.Layer, entry: Mapping[str, Any]) -> Node:
    kind = type(layer).__name__
    if kind not in _ARGUMENTS:
        raise UnsupportedLayerError(
            f"layer `{layer.name}` ({kind}) cannot be compiled: use {', '.join(_ARGUMENTS)}"
        )
    calls = entry["inbound_nodes"]
    if len(calls) > 1:
        raise UnsupportedLayerError(f"layer `{layer.name}` ({kind}) is called {len(calls)} times")
    config = layer.get_config()
    if kind == "BatchNormalization" and not isinstance(config["axis"], int):
        config["axis"] = config["axis"][0]  # tf_keras gives a list
    # The axis of the channels, whichever way a user has written it, depends on the input's rank.
    last = (-1, layer.input_spec.ndim - 1) if kind == "BatchNormalization" else (-1,)
    _check_layer(layer.name, kind, config, last)
    weights = {}
    for variable in layer.weights:
        values = np.asarray(variable, np.float32)
        if not np.isfinite(values).all():
            raise TinsmithError(f"layer `{layer.name}`: {variable.name} holds NaN or infinity")
        name = variable.name.split("/")[-1].split(":")[0]  # tf_keras: `conv2d/kernel:0`
        if kind == "DepthwiseConv2D" and name == "kernel":
            name = WEIGHTED[kind]
        weights[name] = values
    arguments = {key: config[key] for key in _ARGUMENTS[kind]}
    if kind == "BatchNormalization":
        arguments["rank"] = len(layer.input.shape)
    if kind in POOLING:
        arguments["input_shape"] = tuple(layer.input.shape[1:])
    inputs = tuple(name for call in calls for name in _histories(call))
    return Node(layer.name, kind, inputs, arguments, weights)


def _check_layer(name: str, kind: str, config: Mapping[str, Any], last: tuple[int, ...]) -> None:
    if not _NAME.fullmatch(name):
        raise UnsupportedLayerError(
            f"layer `{name}` ({kind}): expected a name of letters, digits and `_.-`, "
            "as tf_keras takes it: rename it"
        )
    expected: dict[str, tuple[Any, ...]] = {"data_format": ("channels_last",), "groups": (1,)}
    if kind in (*WEIGHTED, "SeparableConv2D", "Activation"):
        expected["activation"] = ("linear", "relu", "relu6", "softmax", "sigmoid")
    if kind == "ReLU":
        expected |= {"max_value": (None, 6), "negative_slope": (0, None), "threshold": (0, None)}
    if kind in ("BatchNormalization", "Softmax"):
        expected["axis"] = last
    if kind == "AveragePooling2D":
        expected["padding"] = ("valid",)
    for key, allowed in expected.items():
        if key in config and config[key] not in allowed:
            raise UnsupportedLayerError(
                f"layer `{name}` ({kind}): {key}={config[key]!r} cannot be compiled: "
                f"use {', '.join(repr(value) for value in allowed)}"
            )


def _histories(tree: Any) -> Iterator[str]:
    """The names of the layers whose outputs stand in a serialized call."""
    if isinstance(tree, Mapping):
        if tree.get("class_name") == "__keras_tensor__":
            yield tree["config"]["keras_history"][0]
            return
        tree = list(tree.values())
    elif isinstance(tree, list | tuple) and [type(leaf) for leaf in tree[:3]] == [str, int, int]:
        yield tree[0]  # as tf_keras writes it
        return
    if isinstance(tree, list | tuple):
        for branch in tree:
            yield from _histories(branch)


def _sorted(nodes: list[Node], shape: tuple[int | None, ...]) -> Graph:
    """Puts every layer behind those it reads; the input knows its shape."""
    done: dict[str, Node] = {}
    while len(done) < len(nodes):
        for node in nodes:
            if node.name not in done and all(name in done for name in node.inputs):
                if node.kind == "InputLayer":
                    node = Node(node.name, node.kind, (), {"shape": shape[1:]})
                done[node.name] = node
    return Graph(tuple(done.values()))
