"""The small networks of `architectures.py`: an architecture each, built with Keras 3."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import tasks

L = keras.layers
Make = Callable[[], Any]


def _model(shape: tuple[int, ...], body: Callable[[Any], Any], dtype: str = "float32") -> Any:
    source = keras.Input(shape, dtype=dtype)
    return keras.Model(source, body(source))


def _classifier(shape: tuple[int, ...], body: Callable[[Any], Any]) -> Any:
    return _model(shape, lambda x: L.Dense(10, activation="softmax")(body(x)))


def vit() -> Any:
    """A vision transformer: 49 patches, two blocks of four heads."""

    def body(x: Any) -> Any:
        x = L.Reshape((49, 32))(L.Conv2D(32, 4, strides=4)(x))
        x = L.EinsumDense("btc,cd->btd", (49, 32), bias_axes="td")(x)  # a bias a place
        for _ in range(2):
            y = L.LayerNormalization()(x)
            x = L.Add()([x, L.MultiHeadAttention(4, 8)(y, y)])
            y = L.Dense(64, activation="gelu")(L.LayerNormalization()(x))
            x = L.Add()([x, L.Dense(32)(y)])
        return L.GlobalAveragePooling1D()(L.LayerNormalization()(x))

    return _classifier((28, 28, 1), body)


def lstm() -> Any:
    """Rows of an image, read one after the other."""
    return _classifier((28, 28), L.LSTM(48))


def gru() -> Any:
    """Rows of an image, read from both ends, and once more."""

    def body(x: Any) -> Any:
        return L.GRU(32)(L.Bidirectional(L.GRU(16, return_sequences=True))(x))

    return _classifier((28, 28), body)


def tcn() -> Any:
    """A temporal convolutional network: causal, each block twice as far apart."""

    def body(x: Any) -> Any:
        x = L.Conv1D(32, 1)(x)
        for dilation in (1, 2, 4, 8):
            y = L.Conv1D(32, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
            x = L.ReLU()(L.Add()([x, L.Conv1D(32, 1)(y)]))
        return L.Flatten()(L.Cropping1D((27, 0))(x))

    return _classifier((28, 28), body)


def unet() -> Any:
    """Down twice, up twice by bilinear resizing, with what each size had before."""

    def convolved(x: Any, filters: int) -> Any:
        return L.Conv2D(filters, 3, padding="same", activation="relu")(x)

    def body(x: Any) -> Any:
        large = convolved(x, 8)
        middle = convolved(L.MaxPooling2D()(large), 16)
        x = convolved(L.MaxPooling2D()(middle), 24)
        for beside, filters in ((middle, 16), (large, 8)):
            up = L.UpSampling2D(interpolation="bilinear")(x)
            x = convolved(L.Concatenate()([up, beside]), filters)
        return L.Conv2D(1, 1, activation="sigmoid")(x)

    return _model((28, 28, 1), body)


def pixel_shuffle() -> Any:
    """Twice the size: each pixel's channels become four pixels."""

    def body(x: Any) -> Any:
        x = L.Conv2D(24, 5, padding="same", activation="relu")(x)
        x = L.Conv2D(16, 3, padding="same", activation="relu")(x)
        x = L.Reshape((14, 14, 2, 2))(L.Conv2D(4, 3, padding="same")(x))
        return L.Reshape((28, 28, 1))(L.Permute((1, 3, 2, 4))(x))

    return _model((14, 14, 1), body)


def _features(x: Any) -> Any:
    """Convolutions down to a quarter of the size."""
    for filters in (16, 32):
        x = L.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = L.ReLU()(L.BatchNormalization(momentum=0.9)(x))
    return x


def attention_pooling() -> Any:
    """The mean of 49 places, weighted by a softmax over them."""

    def body(x: Any) -> Any:
        places = L.Reshape((49, 32))(_features(x))
        weights = L.Softmax(axis=1)(L.Dense(1)(places))
        return L.Flatten()(L.Dot(axes=1)([weights, places]))

    return _classifier((28, 28, 1), body)


def group_normalization() -> Any:
    """Convolutions normalized by groups of channels."""

    def body(x: Any) -> Any:
        for filters in (16, 32):
            x = L.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
            x = L.ReLU()(L.GroupNormalization(4)(x))
        return L.GlobalAveragePooling2D()(L.Conv2D(32, 3, activation="relu")(x))

    return _classifier((28, 28, 1), body)


def _scene_features(x: Any) -> Any:
    for filters, strides in ((12, 2), (24, 2), (32, 1)):
        x = L.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        x = L.ReLU()(L.BatchNormalization(momentum=0.9)(x))
    return x


def detector_rows() -> Any:
    """Boxes from maps of two sizes, their rows concatenated: two outputs, distances and scores."""

    def head(x: Any, count: int) -> tuple[Any, Any]:
        x = L.Conv2D(32, 3, padding="same", activation="relu")(x)
        sides = L.Reshape((count, 4))(L.Conv2D(4, 1)(x))
        few = keras.initializers.Constant(-3.0)
        return sides, L.Reshape((count, 10))(L.Conv2D(10, 1, bias_initializer=few)(x))

    def body(x: Any) -> Any:
        x = _scene_features(x)
        small = L.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
        pairs = zip(head(x, 144), head(small, 36), strict=True)
        sides, scores = (L.Concatenate(axis=1)(list(pair)) for pair in pairs)
        return [sides, L.Activation("sigmoid", name="scores")(scores)]

    return _model((tasks.SIDE, tasks.SIDE, 1), body)


def detector_split() -> Any:
    """Boxes from one map: channels split, each distance the mean of a softmax over eight bins."""

    def body(x: Any) -> Any:
        x = L.Conv2D(32, 3, padding="same", activation="relu")(_scene_features(x))
        few = keras.initializers.Constant(-1.0)
        rows = L.Reshape((144, 42))(L.Conv2D(42, 1, bias_initializer=few)(x))
        parts, scores = rows[..., :32], rows[..., 32:]
        parts = L.Softmax()(L.Reshape((144, 4, tasks.BINS))(parts))
        mean = L.Dense(1, use_bias=False, trainable=False)
        sides = L.Reshape((144, 4))(mean(parts))
        mean.set_weights([np.arange(tasks.BINS, dtype=np.float32)[:, None]])
        return L.Concatenate()([sides, L.Activation("sigmoid")(scores)])

    return _model((tasks.SIDE, tasks.SIDE, 1), body)


def text() -> Any:
    """Words as rows of a table, their mean, two layers."""

    def body(x: Any) -> Any:
        x = L.Conv1D(24, 3, activation="relu")(L.Embedding(tasks.WORDS, 16)(x))
        return L.Dense(2, activation="softmax")(L.GlobalAveragePooling1D()(x))

    return _model((tasks.LENGTH,), body, "int32")


# What makes it, what it is trained on, how often.
NETWORKS: dict[str, tuple[Make, Callable[[int, int], tasks.Task], int]] = {
    "vit": (vit, tasks.classes, 6),
    "lstm": (lstm, tasks.rows, 4),
    "gru": (gru, tasks.rows, 4),
    "tcn": (tcn, tasks.rows, 4),
    "unet": (unet, tasks.masks, 3),
    "pixel-shuffle": (pixel_shuffle, tasks.enlarged, 2),
    "attention-pooling": (attention_pooling, tasks.classes, 4),
    "group-normalization": (group_normalization, tasks.classes, 4),
    "detector-rows": (detector_rows, tasks.scenes, 8),
    "detector-split": (detector_split, tasks.small_scenes, 8),
    "text": (text, tasks.lines, 4),
}
