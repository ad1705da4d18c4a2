"""From the graph to tf_keras, the Keras that TensorFlow Model Optimization works on."""

from collections.abc import Callable
from dataclasses import fields
from functools import singledispatch
from typing import Any

import tensorflow as tf
import tf_keras

from tinsmith_data.interrupts import held_interrupts
from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization
from tinsmith_export.ir.ops import (
    RELU,
    UNCLIPPED,
    Add,
    Affine,
    AveragePooling2D,
    Clip,
    Clipped,
    Concatenate,
    Conv2D,
    Convolution,
    Dense,
    DepthToSpace,
    DepthwiseConv2D,
    Function,
    Maximum,
    MaxPooling2D,
    Minimum,
    Multiply,
    Node,
    Reshape,
    UpSampling2D,
    Weigh,
    Weighted,
    ZeroPadding2D,
)
from tinsmith_export.ir.unrewritten import LeakyReLU
from tinsmith_export.reference.normalization import normalized
from tinsmith_runtime.batch import Arrays

L = tf_keras.layers
Wrap = Callable[[Node, Any], Any]


@held_interrupts()
def rebuild(graph: Graph, wrap: Wrap = lambda _, layer: layer) -> tf_keras.Model:
    """Builds the graph in tf_keras and copies its weights.

    Args:
        graph: rewritten or not.
        wrap: what to make of each new layer before it is called; the quantizer hooks in here.

    Returns:
        A functional model, `float32`.
    """
    tensors, shared = dict[str, Any](), dict[str, dict[str, Any]]()
    sources = [tf_keras.Input(node.shape, name=node.name) for node in graph.inputs]
    for entry, source in zip(graph.inputs, sources, strict=True):
        tensors[entry.name] = wrap(entry, lambda tensor: tensor)(source)
    for node in graph.layers:
        inputs = [tensors[name] for name in node.inputs]
        layer = built_layer(node, inputs[0].shape, shared)
        tensors[node.name] = wrap(node, layer)(inputs if len(inputs) > 1 else inputs[0])
    # Without a name of its own, how many models came before would stand in the files.
    outputs = [tensors[node.inputs[0]] for node in graph.outputs]
    return tf_keras.Model(sources, outputs, name="tinsmith")


def tensors(inputs: Arrays) -> Any:
    """A batch as a Keras model is called with it."""
    return tf.nest.map_structure(tf.constant, inputs)


def built_layer(node: Node, shape: Any, shared: dict[str, dict[str, Any]] | None = None) -> Any:
    """The layer of tf_keras that computes a node, with its weights.

    `shape` is of its first input, `shared` has the variables that several layers share.
    """
    layer = keras_layer(node)
    if isinstance(node, Weighted):
        first = {} if shared is None or not node.shared else shared.setdefault(node.shared, {})
        if first:
            layer.add_weight = lambda name, **_: first[name]
        layer.build(shape)
        first |= {"bias": layer.bias, node.kernel_name: getattr(layer, node.kernel_name)}
    return layer


@singledispatch
def keras_layer(node: Node) -> Any:
    """The layer of tf_keras that computes a node; its weights are there once it is built."""
    raise TypeError(f"{node.kind} has no layer of tf_keras")


@keras_layer.register
def _(node: Conv2D) -> Any:
    size = node.kernel.shape[:2]
    return L.Conv2D(node.channels, size, groups=node.groups, **_convolution(node))


@keras_layer.register
def _(node: DepthwiseConv2D) -> Any:
    size, multiplier = node.kernel.shape[:2], node.kernel.shape[3]
    return L.DepthwiseConv2D(size, depth_multiplier=multiplier, **_convolution(node))


@keras_layer.register
def _(node: Dense) -> Any:
    return L.Dense(node.channels, **_product(node))


def _convolution(node: Convolution) -> dict[str, Any]:
    settings = {"strides": node.strides, "padding": node.padding}
    return {**settings, "dilation_rate": node.dilation_rate, **_product(node)}


def _product(node: Weighted) -> dict[str, Any]:
    """Its weights as initial values: to set them later would compute random ones first."""
    kernel = node.kernel_name.removesuffix("_kernel")  # `depthwise_initializer` has no "kernel"
    settings = {"name": node.name, f"{kernel}_initializer": tf.constant_initializer(node.kernel)}
    if node.bias is not None:
        settings["bias_initializer"] = tf.constant_initializer(node.bias)
    if (activation := _clipping(node)) is not None:
        settings["activation"] = activation
    return {**settings, "use_bias": node.bias is not None}


def _clipping(node: Node) -> Callable[[Any], Any] | None:
    """The clip of a node's output as a function: the fewest operators that there are for it."""
    if not isinstance(node, Clipped) or node.clip == UNCLIPPED:
        return None
    low, high = node.clip
    if node.clip in (RELU, (0, 6)):
        relu: Callable[[Any], Any] = tf.nn.relu if high is None else tf.nn.relu6
        return relu

    def clip(x: Any) -> Any:
        x = x if low is None else tf.maximum(x, low)
        return x if high is None else tf.minimum(x, high)

    return clip


def _computed(node: Node, function: Callable[[Any], Any]) -> Any:
    """A layer without weights to train, from a function of the node's inputs."""
    clip = _clipping(node) or (lambda x: x)
    return L.Lambda(lambda x: clip(function(x)), name=node.name)


@keras_layer.register
def _(node: Affine) -> Any:
    return _computed(node, lambda x: x * node.factor + node.offset)


@keras_layer.register
def _(node: Weigh) -> Any:
    return _computed(node, lambda x: x * node.factor)


@keras_layer.register
def _(node: Add) -> Any:
    return _computed(node, lambda x: x[0] + x[1])


@keras_layer.register
def _(node: Multiply) -> Any:
    return _computed(node, lambda x: x[0] * x[1])


@keras_layer.register
def _(node: MatMul) -> Any:
    return _computed(node, lambda x: tf.matmul(x[0], x[1]))


@keras_layer.register
def _(node: Softmax) -> Any:
    return _computed(node, tf.nn.softmax)


@keras_layer.register
def _(node: Maximum) -> Any:
    return _computed(node, lambda x: tf.maximum(x[0], x[1]))


@keras_layer.register
def _(node: Minimum) -> Any:
    return _computed(node, lambda x: tf.minimum(x[0], x[1]))


@keras_layer.register
def _(node: Clip) -> Any:
    return _computed(node, lambda x: x)


def _below_zero(x: Any) -> Any:
    """`exp(x) - 1` of what is negative, else 0."""
    return tf.nn.elu(-tf.nn.relu(-x))


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "gelu": tf.nn.gelu,
    "elu": tf.nn.elu,
    # TFLite has no operator for these two.
    "selu": lambda x: 1.0507009873554805 * (tf.nn.relu(x) + 1.6732632423543772 * _below_zero(x)),
    "softsign": lambda x: x / (1.0 + tf.abs(x)),
    "exp": tf.exp,
    # Negative numbers are taken for 0, and 0 for the smallest float32: rounded to codes, what is
    # just above 0 may become 0.
    "log": lambda x: tf.math.log(tf.nn.relu(x) + 2.0**-126),
    "sqrt": lambda x: tf.sqrt(tf.nn.relu(x)),
    # The converter makes a code of the 1 in 1 / x, and LiteRT has no division of codes.
    "reciprocal": lambda x: tf.pow(x, -1.0),
    "softplus": tf.nn.softplus,
    "rsqrt": lambda x: tf.math.rsqrt(tf.nn.relu(x) + 2.0**-126),
    "erf": tf.math.erf,
    "erfc": tf.math.erfc,
}


@keras_layer.register
def _(node: Function) -> Any:
    parameter = node.parameter
    if node.function == "thresholded":
        # A comparison could be made one of codes, whose steps are not where the threshold is.
        return _computed(node, lambda x: x * tf.sign(tf.nn.relu(x - parameter)))
    if node.function == "elu" and parameter != 1:
        return _computed(node, lambda x: tf.nn.relu(x) + parameter * _below_zero(x))
    return _computed(node, _FUNCTIONS[node.function])


@keras_layer.register(LayerNormalization)
@keras_layer.register(GroupNormalization)
def _(node: LayerNormalization | GroupNormalization) -> Any:
    return _computed(node, lambda x: normalized(node, x))


@keras_layer.register
def _(node: Embedding) -> Any:
    def read(x: Any) -> Any:
        ids = tf.cast(tf.reduce_sum(x * [1.0, 256.0], -1), tf.int32)
        return tf.gather(node.table, tf.minimum(ids, len(node.table) - 1))

    return _computed(node, read)


@keras_layer.register
def _(node: LeakyReLU) -> Any:
    return _computed(node, lambda x: tf.nn.leaky_relu(x, node.negative_slope))


@keras_layer.register
def _(node: DepthToSpace) -> Any:
    return _computed(node, lambda x: tf.nn.depth_to_space(x, node.block))


@keras_layer.register
def _(node: Transpose) -> Any:
    return _computed(node, lambda x: tf.transpose(x, (0, *(axis + 1 for axis in node.permutation))))


@keras_layer.register
def _(node: Slice) -> Any:
    return _computed(node, lambda x: x[:, *node.slices()])


@keras_layer.register
def _(node: Gather) -> Any:
    return _computed(node, lambda x: tf.gather(x, node.indices, axis=1 + node.axis))


@keras_layer.register
def _(node: Reshape) -> Any:
    # Keras's own layer would ask for the batch size at run time: three operators more.
    return _computed(node, lambda x: tf.reshape(x, (-1, *node.shape)))


@keras_layer.register
def _(node: Concatenate) -> Any:
    return L.Concatenate(1 + node.axis, name=node.name)


@keras_layer.register(MaxPooling2D)
@keras_layer.register(AveragePooling2D)
@keras_layer.register(ZeroPadding2D)
@keras_layer.register(UpSampling2D)
def _(node: Node) -> Any:
    """Those whose settings are called as Keras calls them."""
    settings = {f.name: getattr(node, f.name) for f in fields(node)}
    del settings["inputs"], settings["shape"]
    return getattr(L, node.kind)(**settings)
