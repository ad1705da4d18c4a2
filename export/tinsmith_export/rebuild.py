"""From the graph to tf_keras, the Keras that TensorFlow Model Optimization works on."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from tinsmith_export.graph import WEIGHTED, Graph, Node
from tinsmith_runtime.batch import Arrays, joined

L = tf_keras.layers
Wrap = Callable[[Node, Any], Any]
_BATCH_SIZE = 64


def rebuild(graph: Graph, wrap: Wrap = lambda _, layer: layer) -> tf_keras.Model:
    """Builds the graph in tf_keras and copies its weights.

    Args:
        graph: rewritten or not.
        wrap: what to make of each new layer before it is called; the quantizer hooks in here.

    Returns:
        A functional model, `float32`.
    """
    tensors: dict[str, Any] = {}
    sources = [tf_keras.Input(node.shape, name=node.name) for node in graph.inputs]
    for node, source in zip(graph.inputs, sources, strict=True):
        tensors[node.name] = wrap(node, lambda tensor: tensor)(source)
    for node in graph.layers:
        layer = _LAYERS[node.kind](node)
        inputs = [tensors[name] for name in node.inputs]
        if node.kind in WEIGHTED:
            layer.build(inputs[0].shape)
            layer.set_weights(list(node.weights.values()))
        tensors[node.name] = wrap(node, layer)(inputs if len(inputs) > 1 else inputs[0])
    # Without a name of its own, how many models came before would stand in the files.
    outputs = [tensors[node.inputs[0]] for node in graph.outputs]
    return tf_keras.Model(sources, outputs, name="tinsmith")


def run(model: Any, inputs: Arrays, batch_size: int = _BATCH_SIZE) -> Arrays:
    """Runs a Keras model over inputs in batches.

    Args:
        model: of either Keras, or a `SavedModel`.
        inputs: `float32 (N, …)`, as many as the model has.
        batch_size: how many at a time.

    Returns:
        `float32 (N, …)`, as many as the model has outputs.
    """
    given = list(inputs) if isinstance(inputs, tuple) else inputs
    found = model.predict(given, batch_size=batch_size, verbose=0)
    return joined(found) if isinstance(found, list | tuple) else found


def tensors(inputs: Arrays) -> Any:
    """A batch as a Keras model is called with it."""
    return tf.nest.map_structure(tf.constant, inputs)


def _convolution(node: Node) -> Any:
    kernel = node.weights["kernel"]
    return L.Conv2D(
        kernel.shape[3], kernel.shape[:2], groups=node.config["groups"], **_product(node)
    )


def _depthwise(node: Node) -> Any:
    kernel = node.weights["depthwise_kernel"]
    return L.DepthwiseConv2D(kernel.shape[:2], depth_multiplier=kernel.shape[3], **_product(node))


def _dense(node: Node) -> Any:
    return L.Dense(node.weights["kernel"].shape[1], **_product(node))


def _product(node: Node) -> dict[str, Any]:
    keys = ("strides", "padding", "dilation_rate")
    settings = {key: node.config[key] for key in keys if key in node.config}
    activation = _clipping(node)
    return {**settings, "name": node.name, "use_bias": "bias" in node.weights} | (
        {} if activation is None else {"activation": activation}
    )


def _clipping(node: Node) -> Callable[[Any], Any] | None:
    """The clip of a layer's output as a function: the fewest operators that there are for it."""
    low, high = node.clip
    if (low, high) == (None, None):
        return None
    if (low, high) in ((0, None), (0, 6)):
        relu: Callable[[Any], Any] = tf.nn.relu if high is None else tf.nn.relu6
        return relu

    def clip(x: Any) -> Any:
        x = x if low is None else tf.maximum(x, low)
        return x if high is None else tf.minimum(x, high)

    return clip


def _computed(function: Callable[[Node, Any], Any]) -> Callable[[Node], Any]:
    """A layer without weights to train, from a function of the node and its inputs."""

    def make(node: Node) -> Any:
        clip = _clipping(node) or (lambda x: x)
        return L.Lambda(lambda x: clip(function(node, x)), name=node.name)

    return make


def _layer_norm(node: Node, x: Any) -> Any:
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True)
    scale = tf.math.rsqrt(variance + node.config["epsilon"])
    return (x - mean) * scale * node.weights["gamma"] + node.weights["beta"]


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": tf.sigmoid,
    "softmax": tf.nn.softmax,
    "tanh": tf.tanh,
    "gelu": tf.nn.gelu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "softplus": tf.nn.softplus,
    "rsqrt": tf.math.rsqrt,
    "erf": tf.math.erf,
    "erfc": tf.math.erfc,
    "square": tf.square,
}

_LAYERS: dict[str, Callable[[Node], Any]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "Dense": _dense,
    "Affine": _computed(lambda node, x: x * node.weights["factor"] + node.weights["offset"]),
    "Weigh": _computed(lambda node, x: x * node.weights["factor"]),
    "Add": _computed(lambda _, x: x[0] + x[1]),
    "Multiply": _computed(lambda _, x: x[0] * x[1]),
    "Clip": _computed(lambda _, x: x),
    "Function": _computed(lambda node, x: _FUNCTIONS[node.config["function"]](x)),
    "LayerNormalization": _computed(_layer_norm),
    "LeakyReLU": _computed(lambda node, x: tf.nn.leaky_relu(x, node.config["negative_slope"])),
    "ChannelMean": _computed(lambda _, x: tf.reduce_mean(x, -1, keepdims=True)),
    "SquaredSum": _computed(lambda _, x: tf.square(x[0] + x[1])),
    "Concatenate": lambda node: L.Concatenate(name=node.name),
    "MaxPooling2D": lambda node: L.MaxPooling2D(name=node.name, **node.config),
    "AveragePooling2D": lambda node: L.AveragePooling2D(name=node.name, **node.config),
    "ZeroPadding2D": lambda node: L.ZeroPadding2D(name=node.name, **node.config),
    "Cropping2D": lambda node: L.Cropping2D(name=node.name, **node.config),
    "UpSampling2D": lambda node: L.UpSampling2D(name=node.name, **node.config),
    "DepthToSpace": _computed(lambda node, x: tf.nn.depth_to_space(x, node.config["block"])),
    # Keras's own layer would ask for the batch size at run time: three operators more.
    "Reshape": _computed(lambda node, x: tf.reshape(x, (-1, *node.shape))),
}
