"""The layers that are tried, one model each: what compiles, how it travels, what is refused.

`export/test_layers.py` compiles them, and writes the table in docs/reference/layers.md from what
comes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

SHAPE = (8, 8, 3)
BOTH = ("Keras 3", "tf_keras")
KERASES = dict(zip(BOTH, (keras, tf_keras), strict=True))


@dataclass(frozen=True)
class Case:
    """One layer, or a few of one kind.

    Attributes:
        layer: as the table has it.
        build: from a Keras and the output of a 3 x 3 convolution, `(8, 8, 4)`, to a tensor.
        refused: part of the error, for what does not compile.
        kerases: those that have the layer.
        ids: below which the numbers are that the layer reads, in the place of an image.
    """

    layer: str
    build: Callable[[Any, Any], Any]
    refused: str | None = None
    kerases: tuple[str, ...] = BOTH
    ids: int = 0

    def inputs(self) -> Any:
        """Some inputs of the model."""
        rng = np.random.default_rng(1)
        if self.ids:
            return rng.integers(0, self.ids, (64, 12), np.int32)
        return rng.uniform(size=(5, *SHAPE)).astype(np.float32)

    def model(self, version: str) -> Any:
        """The case as a model: before it a convolution, behind it a dense layer."""
        module = KERASES[version]
        layers = module.layers
        if self.ids:
            source = module.Input((12,), name="numbers", dtype="int32")
            x = self.build(module, source)
        else:
            source = module.Input(SHAPE, name="pixels")
            x = self.build(module, layers.Conv2D(4, 3, padding="same", name="stem")(source))
        if len(x.shape) > 2:
            x = layers.Flatten(name="flat")(x)
        return module.Model(source, layers.Dense(3, name="answer")(x))


def _layer(name: str, *args: Any, **kwargs: Any) -> Callable[[Any, Any], Any]:
    return lambda module, x: getattr(module.layers, name)(*args, **kwargs)(x)


def _activation(name: str) -> Callable[[Any, Any], Any]:
    return _layer("Activation", name)


def _sequence(*layers: tuple[Any, ...], **kwargs: Any) -> Callable[[Any, Any], Any]:
    """Layers on the image as a sequence, `(32, 8)`; the last takes the keywords."""

    def build(module: Any, x: Any) -> Any:
        x = module.layers.Reshape((32, 8))(x)
        for place, (name, *args) in enumerate(layers, 1):
            options = kwargs if place == len(layers) else {}
            x = getattr(module.layers, name)(*args, **options)(x)
        return x

    return build


def _merged(name: str, **kwargs: Any) -> Callable[[Any, Any], Any]:
    """Two branches that meet."""
    return lambda module, x: getattr(module.layers, name)(**kwargs)(
        [x, module.layers.Conv2D(4, 1)(x)]
    )


def _in_a_row(*layers: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def build(module: Any, x: Any) -> Any:
        for layer in layers:
            x = layer(module, x)
        return x

    return build


def _function(function: Callable[[Any], Any], shape: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """A function of TensorFlow, whose output has that shape, and behind it a convolution."""
    return _in_a_row(
        lambda module, x: module.layers.Lambda(function, output_shape=shape)(x),
        _layer("Conv2D", 4, 3, padding="same"),
    )


def _hard_swish(module: Any, x: Any) -> Any:
    """As Keras's own MobileNetV3 spells it."""
    gate = module.layers.ReLU(max_value=6)(x + 3.0)
    return module.layers.Multiply()([x, gate * (1 / 6)])


def _squeeze_and_excite(module: Any, x: Any) -> Any:
    layers = module.layers
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(2, 1, activation="relu")(gate)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])


def _shared(module: Any, x: Any) -> Any:
    twice = module.layers.Conv2D(4, 3, name="twice")
    return twice(twice(x))


def _nested(module: Any, x: Any) -> Any:
    layers = module.layers
    inner = [module.Input((8, 8, 4)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    return module.Sequential([*inner, layers.ReLU()], name="inner")(x)


def _split(module: Any, x: Any) -> Any:
    """A part for each of two branches, which meet again."""
    split = module.ops.split if module is keras else tf.split
    one, other = split(x, 2, axis=-1)
    return module.layers.Concatenate(axis=1)(
        [module.layers.Conv2D(2, 3, padding="same")(other), one]
    )


def _reversed_channels(module: Any, x: Any) -> Any:
    x = module.layers.Conv2D(4, 1)(x)[..., ::-1]
    x = module.layers.ReLU()(module.layers.BatchNormalization()(x))
    return module.layers.Conv2D(4, 3, padding="same")(x)


def _channels_first(module: Any, x: Any) -> Any:
    """Two residual blocks, a pooling and a mean: no transposition is left of them."""
    layers, first = module.layers, {"data_format": "channels_first"}
    x = layers.Permute((3, 1, 2))(x)
    for _ in range(2):
        y = layers.Conv2D(4, 3, padding="same", **first)(x)
        y = layers.ReLU()(layers.BatchNormalization(axis=1)(y))
        x = layers.Add()([x, y])
    x = layers.MaxPooling2D(2, **first)(layers.ZeroPadding2D(1, **first)(x))
    return layers.GlobalAveragePooling2D(**first)(x)


def _standardized(module: Any, x: Any) -> Any:
    """Spelt out by hand."""
    axes = {"axis": (1, 2), "keepdims": True}
    if module is keras:
        mean, root = module.ops.mean, module.ops.sqrt
    else:
        mean, root = tf.reduce_mean, tf.sqrt
    centered = x - mean(x, **axes)
    return centered / root(mean(centered * centered, **axes) + 0.1)


def _relu6(module: Any, x: Any) -> Any:
    return module.ops.relu6(x) if module is keras else tf.nn.relu6(x)


def _mean(module: Any, x: Any) -> Any:
    return module.ops.mean(x, axis=(1, 2)) if module is keras else tf.reduce_mean(x, (1, 2))


def _reduced(name: str, **kwargs: Any) -> Callable[[Any, Any], Any]:
    """A mean and the like, and behind it a dense layer."""
    theirs: Any = {"var": tf.math.reduce_variance}.get(name, getattr(tf, f"reduce_{name}", None))

    def build(module: Any, x: Any) -> Any:
        function = getattr(keras.ops, name) if module is keras else theirs
        return module.layers.Dense(4)(module.layers.Flatten()(function(x, **kwargs)))

    return build


def _matrices(module: Any, x: Any) -> Any:
    """Products of rows by rows, and of what comes of them and the rows."""
    layers = module.layers
    rows = layers.Reshape((16, 16))(x)
    return layers.Dot((2, 1))([layers.Dot((2, 2))([rows, rows]), layers.Dense(5)(rows)])


def _attention(module: Any, x: Any) -> Any:
    x = module.layers.Reshape((16, 16))(x)
    return module.layers.MultiHeadAttention(2, 4)(x, x)


def _computed(name: str) -> Callable[[Any, Any], Any]:
    """A function of numbers above 0, from either library."""

    def build(module: Any, x: Any) -> Any:
        functions = module.ops if module is keras else tf.math
        return getattr(functions, name)(module.layers.ReLU()(x) + 0.5)

    return build


def _steps(module: Any, x: Any) -> Any:
    return module.layers.Reshape((4, 64))(x)


def _recurrent(name: str, **kwargs: Any) -> Callable[[Any, Any], Any]:
    """A recurrent layer on the image as four steps; all that it gives is joined."""

    def build(module: Any, x: Any) -> Any:
        layers = module.layers
        found = getattr(layers, name)(3, **kwargs)(_steps(module, x))
        if not isinstance(found, list | tuple):
            return found
        flat = [layers.Flatten()(one) for one in found]
        return layers.Concatenate()(flat)

    return build


_ALL = {"return_sequences": True, "return_state": True}


def _bidirectional(module: Any, x: Any) -> Any:
    inner = module.layers.GRU(3, return_sequences=True)
    return module.layers.Bidirectional(inner)(_steps(module, x))


def _dot_attention(module: Any, x: Any) -> Any:
    rows = module.layers.Reshape((16, 16))(x)
    return module.layers.Attention()([rows, module.layers.Dense(16)(rows)])


CASES = (
    Case("Conv2D", _layer("Conv2D", 5, 3, strides=2, padding="same")),
    Case("Conv2D, dilated", _layer("Conv2D", 5, 3, dilation_rate=2, padding="same")),
    Case("Conv2D, dilated, without padding", _layer("Conv2D", 5, 3, dilation_rate=2)),
    Case("Conv2D, grouped", _layer("Conv2D", 6, 3, groups=2)),
    Case("Conv2D, a group for each channel", _layer("Conv2D", 8, 3, groups=4)),
    Case("Conv2D, channels first", _layer("Conv2D", 5, 3, data_format="channels_first")),
    Case("a network whose channels come first", _channels_first),
    Case("DepthwiseConv2D", _layer("DepthwiseConv2D", 3, strides=2, padding="same")),
    Case("DepthwiseConv2D, dilated", _layer("DepthwiseConv2D", 3, dilation_rate=2)),
    Case("DepthwiseConv2D, depth multiplier", _layer("DepthwiseConv2D", 3, depth_multiplier=2)),
    Case("SeparableConv2D", _layer("SeparableConv2D", 5, 3, padding="same")),
    Case("Conv2DTranspose, stride 1", _layer("Conv2DTranspose", 5, 3)),
    Case("Conv2DTranspose", _layer("Conv2DTranspose", 5, 3, strides=2, padding="same")),
    Case("Conv2DTranspose, two strides", _layer("Conv2DTranspose", 5, 4, strides=(3, 2))),
    # TensorFlow dilates none on a CPU; tf_keras takes images apart for it.
    Case(
        "Conv2DTranspose, dilated",
        _layer("Conv2DTranspose", 5, 3, dilation_rate=2),
        kerases=("tf_keras",),
    ),
    Case(
        "Conv2DTranspose, dilated and padded",
        _layer("Conv2DTranspose", 5, 3, dilation_rate=3, padding="same"),
        kerases=("tf_keras",),
    ),
    Case("Conv1DTranspose", _sequence(("Conv1DTranspose", 4, 3), strides=2, padding="same")),
    Case("Conv3D", _in_a_row(_layer("Reshape", (8, 8, 4, 1)), _layer("Conv3D", 2, 3)), "Conv3D"),
    Case("Conv1D", _sequence(("Conv1D", 4, 3), padding="same")),
    Case("Conv1D, causal", _sequence(("Conv1D", 4, 3), padding="causal")),
    Case("Conv1D, dilated", _sequence(("Conv1D", 4, 3), dilation_rate=2)),
    Case(
        "Conv1D, dilated and padded",
        _sequence(("Conv1D", 4, 3), dilation_rate=2, padding="same"),
    ),
    Case(
        "Conv1D, dilated and causal",
        _sequence(("Conv1D", 4, 3), dilation_rate=4, padding="causal"),
    ),
    Case("DepthwiseConv1D", _sequence(("DepthwiseConv1D", 3))),
    Case("DepthwiseConv1D, dilated", _sequence(("DepthwiseConv1D", 3), dilation_rate=2)),
    Case(
        "SeparableConv1D, dilated",
        _sequence(("SeparableConv1D", 4, 3), dilation_rate=2, padding="same"),
    ),
    Case(
        "SeparableConv1D, dilated and causal",
        _sequence(("SeparableConv1D", 4, 3), dilation_rate=2, padding="causal"),
        kerases=("tf_keras",),
    ),
    Case("SeparableConv1D", _sequence(("SeparableConv1D", 4, 3))),
    Case("Dense", _in_a_row(_layer("Flatten"), _layer("Dense", 6, activation="relu"))),
    Case("Dense on an image", _layer("Dense", 5)),
    Case("Dense on a sequence", _sequence(("Dense", 5))),
    Case("BatchNormalization behind a product", _layer("BatchNormalization")),
    Case(
        "BatchNormalization behind a ReLU and before a padding",
        _in_a_row(
            _layer("ReLU"), _layer("BatchNormalization"), _layer("Conv2D", 4, 3, padding="same")
        ),
    ),
    Case("BatchNormalization over rows", _layer("BatchNormalization", axis=1)),
    Case("LayerNormalization", _layer("LayerNormalization")),
    Case(
        "LayerNormalization without scale and offset",
        _layer("LayerNormalization", scale=False, center=False),
    ),
    Case("LayerNormalization over rows", _layer("LayerNormalization", axis=1)),
    Case("LayerNormalization over the image", _layer("LayerNormalization", axis=[1, 2])),
    Case("GroupNormalization", _layer("GroupNormalization", 2)),
    Case("GroupNormalization, a group a channel", _layer("GroupNormalization", -1)),
    Case("GroupNormalization, channels first", _layer("GroupNormalization", 2, axis=1)),
    Case("GroupNormalization of a sequence", _sequence(("GroupNormalization", 4))),
    Case("UnitNormalization", _layer("UnitNormalization")),
    Case("UnitNormalization over rows", _layer("UnitNormalization", axis=1)),
    Case("RMSNormalization", _layer("RMSNormalization"), kerases=("Keras 3",)),
    Case("`(x - mean) / sqrt(variance + 0.1)` over the image", _standardized),
    Case("Rescaling", _layer("Rescaling", 2.0, -1.0)),
    Case(
        "Normalization",
        _layer("Normalization", mean=[0.1, 0.2, 0.3, 0.4], variance=[0.5, 0.6, 0.7, 0.8]),
    ),
    Case("`x + 3`, `3 - x`, `x / 6`", lambda _, x: 3 - (x + 3.0) / 6),
    Case("`x + y`, Add", _merged("Add")),
    Case("`x - y`, Subtract", lambda module, x: x - module.layers.Conv2D(4, 1)(x)),
    Case("`x * y`, Multiply", lambda module, x: x * module.layers.Conv2D(4, 1)(x)),
    Case("Average", _merged("Average")),
    Case("Maximum", _merged("Maximum")),
    Case("Minimum", _merged("Minimum")),
    Case("Dot", _in_a_row(_layer("Flatten"), lambda m, x: m.layers.Dot(1)([x, x]))),
    Case("Dot of matrices, `matmul`", _matrices),
    Case(
        "EinsumDense",
        _sequence(("EinsumDense", "abc,cd->abd", (32, 6)), bias_axes="d"),
        kerases=("Keras 3",),
    ),
    Case("Concatenate of channels", _merged("Concatenate")),
    Case(
        "Concatenate, one part behind a ReLU",
        lambda module, x: module.layers.Concatenate()(
            [x, module.layers.Conv2D(2, 1, activation="relu")(x)]
        ),
    ),
    Case("Concatenate of rows", _merged("Concatenate", axis=1)),
    Case(
        "Concatenate of rows of several sizes",
        lambda module, x: module.layers.Concatenate(axis=1)(
            [
                module.layers.Reshape((-1, 6))(module.layers.Conv2D(12, 3, strides)(x))
                for strides in (1, 2)
            ]
        ),
    ),
    Case("ReLU, `relu`", _layer("ReLU")),
    Case("ReLU with a maximum, `relu6`", _relu6),
    Case("ReLU with a threshold", _layer("ReLU", threshold=0.2)),
    Case("ReLU with a slope, LeakyReLU", _layer("LeakyReLU")),
    Case("PReLU, a slope a channel", _layer("PReLU", shared_axes=[1, 2])),
    Case("PReLU, a slope a pixel", _layer("PReLU")),
    Case("`hard_sigmoid`", _activation("hard_sigmoid")),
    Case("`hard_swish`, spelt out", _hard_swish),
    Case("`hard_swish`", _activation("hard_swish"), kerases=("Keras 3",)),
    Case("`swish`, `silu`", _activation("swish")),
    Case("squeeze and excite", _squeeze_and_excite),
    Case("`sigmoid`", _activation("sigmoid")),
    Case("`tanh`", _activation("tanh")),
    Case("`gelu`", _activation("gelu")),
    Case("`elu`", _activation("elu")),
    Case("ELU, alpha other than 1", _layer("ELU", 0.5)),
    Case("`selu`", _activation("selu")),
    Case("`softplus`", _activation("softplus")),
    Case("`mish`", _activation("mish")),
    Case("`softsign`", _activation("softsign")),
    Case("`exponential`", _activation("exponential")),
    Case("`sqrt`", _computed("sqrt")),
    Case("`rsqrt`", _computed("rsqrt")),
    Case("`log`", _computed("log")),
    Case("`abs`", lambda module, x: module.ops.abs(x), kerases=("Keras 3",)),
    Case("`x / y`, `1 / x`", lambda module, x: x / (1.0 / (module.layers.ReLU()(x) + 0.5))),
    Case("`square`", lambda module, x: module.ops.square(x), kerases=("Keras 3",)),
    Case("Softmax within a model", _layer("Softmax")),
    Case("Softmax over rows", _layer("Softmax", axis=1)),
    Case("MaxPooling2D", _layer("MaxPooling2D", 3, strides=2, padding="same")),
    Case("AveragePooling2D", _layer("AveragePooling2D", 2)),
    Case("AveragePooling2D, padded", _layer("AveragePooling2D", 3, strides=2, padding="same")),
    Case("AveragePooling2D, two strides", _layer("AveragePooling2D", 2, (2, 1))),
    Case(
        "AveragePooling2D, two strides, padded",
        _layer("AveragePooling2D", (3, 2), (1, 3), padding="same"),
    ),
    Case("GlobalAveragePooling2D, `mean`", _mean),
    Case("`mean` over rows", _reduced("mean", axis=1)),
    Case("`mean` over channels", _reduced("mean", axis=-1, keepdims=True)),
    Case("`sum` over columns and channels", _reduced("sum", axis=(2, 3))),
    Case("`max` over channels", _reduced("max", axis=-1)),
    Case("`var` over the image", _reduced("var", axis=(1, 2))),
    Case("GlobalMaxPooling2D", _layer("GlobalMaxPooling2D")),
    Case("MaxPooling1D", _sequence(("Conv1D", 4, 3), ("MaxPooling1D", 2))),
    Case("AveragePooling1D", _sequence(("Conv1D", 4, 3), ("AveragePooling1D", 2))),
    Case(
        "AveragePooling1D, padded, strides that are not its size",
        _sequence(("AveragePooling1D", 3, 2), padding="same"),
    ),
    Case("GlobalAveragePooling1D", _sequence(("Conv1D", 4, 3), ("GlobalAveragePooling1D",))),
    Case("ZeroPadding2D", _in_a_row(_layer("ZeroPadding2D", 1), _layer("Conv2D", 4, 3))),
    Case("ZeroPadding1D", _sequence(("ZeroPadding1D", 1), ("Conv1D", 4, 3))),
    Case(
        "padding by reflection",
        _function(lambda x: tf.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), "REFLECT"), (11, 11, 4)),
    ),
    Case(
        "padding by a mirror image",
        _function(lambda x: tf.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), "SYMMETRIC"), (11, 11, 4)),
    ),
    Case(
        "Concatenate with a constant",
        _function(
            lambda x: tf.concat([x, tf.ones_like(x[:, :1]) * (0.0, 1.0, -2.0, 3.0)], 1), (9, 8, 4)
        ),
    ),
    Case("`tile`", _function(lambda x: tf.tile(x, (1, 2, 1, 3)), (16, 8, 12))),
    Case("`repeat`", _function(lambda x: tf.repeat(x, 2, axis=-1), (8, 8, 8))),
    Case("RepeatVector", _in_a_row(_layer("GlobalMaxPooling2D"), _layer("RepeatVector", 3))),
    Case(
        "`gather` at known places", _function(lambda x: tf.gather(x, (3, 0, 3), axis=2), (8, 3, 4))
    ),
    Case("`roll`", _function(lambda x: tf.roll(x, (1, -3), (1, 2)), (8, 8, 4))),
    Case("`reverse`", _function(lambda x: tf.reverse(x, (1, -1)), (8, 8, 4))),
    Case("Cropping2D, CenterCrop", _layer("Cropping2D", ((1, 2), (0, 1)))),
    Case("`x[:, 1:5, 2:6]`", lambda _, x: x[:, 1:5, 2:6]),
    Case("`x[..., :2]`", lambda _, x: x[..., :2]),
    Case("`x[:, ::-2, 1, 1:]`", lambda _, x: x[:, ::-2, 1, 1:]),
    Case("`split` of channels", _split),
    Case("BatchNormalization behind a slice of channels", _reversed_channels),
    Case("Cropping1D", _sequence(("Conv1D", 4, 3), ("Cropping1D", (1, 2)))),
    Case("UpSampling2D, nearest", _layer("UpSampling2D", (2, 3))),
    Case("Resizing, nearest, to any size", _layer("Resizing", 5, 11, interpolation="nearest")),
    Case("UpSampling2D, bilinear", _layer("UpSampling2D", (2, 3), interpolation="bilinear")),
    Case("Resizing, bilinear, to any size", _layer("Resizing", 5, 11)),
    Case(
        "`resize`, bilinear, with aligned corners",
        _function(
            lambda x: tf.compat.v1.image.resize_bilinear(x, (13, 15), align_corners=True),
            (13, 15, 4),
        ),
    ),
    Case(
        "`resize`, bilinear, without half pixels",
        _function(lambda x: tf.compat.v1.image.resize_bilinear(x, (16, 24)), (16, 24, 4)),
    ),
    Case("Flatten, Reshape", _layer("Reshape", (4, 16, 4))),
    Case(
        "Reshape, Permute and Reshape: a channel shuffle",
        _in_a_row(
            _layer("Reshape", (8, 8, 2, 2)),
            _layer("Permute", (1, 2, 4, 3)),
            _layer("Reshape", (8, 8, 4)),
            _layer("Conv2D", 4, 3),
        ),
    ),
    Case("`depth_to_space`", _function(lambda x: tf.nn.depth_to_space(x, 2), (16, 16, 1))),
    Case("`space_to_depth`", _function(lambda x: tf.nn.space_to_depth(x, 2), (4, 4, 16))),
    Case("Permute", _layer("Permute", (2, 1, 3))),
    Case("Permute of channels", _layer("Permute", (3, 1, 2))),
    Case(
        "Permute before a BatchNormalization",
        _in_a_row(
            _layer("Reshape", (16, 4, 4)),
            _layer("Permute", (1, 3, 2)),
            _layer("BatchNormalization"),
        ),
    ),
    Case("Permute of a sequence", _sequence(("Conv1D", 4, 3), ("Permute", (2, 1)), ("Dense", 5))),
    Case("Dropout and noise", _in_a_row(_layer("Dropout", 0.5), _layer("GaussianNoise", 0.5))),
    Case("RandomFlip and the like", _layer("RandomFlip")),
    Case("a layer called twice", _shared),
    Case("a model inside a model", _nested),
    Case("MultiHeadAttention", _attention),
    Case("Attention", _dot_attention),
    Case("Embedding of an input", _layer("Embedding", 300, 8), ids=300),
    Case("SimpleRNN", _recurrent("SimpleRNN", return_sequences=True)),
    Case("LSTM", _recurrent("LSTM")),
    Case("LSTM backwards, all that it gives", _recurrent("LSTM", **_ALL, go_backwards=True)),
    Case("GRU", _recurrent("GRU")),
    Case("GRU, reset before the product", _recurrent("GRU", reset_after=False)),
    Case("Bidirectional", _bidirectional),
    Case("RNN of cells", lambda m, x: m.layers.RNN(m.layers.LSTMCell(3))(_steps(m, x))),
    Case(
        "a recurrent layer of more than 64 steps",
        _sequence(("Reshape", (128, 2)), ("GRU", 3)),
        "64",
    ),
    Case("a recurrent layer with a mask", _sequence(("Masking",), ("GRU", 3)), "a mask"),
    Case("TimeDistributed", lambda m, x: m.layers.TimeDistributed(m.layers.Conv1D(2, 3))(x)),
)
