"""The models: Keras 3, functional, from `float32 (N, H, W, C)` pixels in 0..1.

Importing this module imports Keras.
"""

import math
from collections.abc import Callable

import keras
from keras import layers

from tinsmith_runtime.errors import UsageError
from tinsmith_train.photo_models import dscnn, mobilenet, mobilenetv2, resnet
from tinsmith_train.recipe import Recipe, find_recipe

Shape = tuple[int, int, int]
# A score of a detector that has learned nothing yet: 1 of 100 cells has anything. Lin et al. 2017,
# "Focal Loss for Dense Object Detection", 4.1.
_RARE = -math.log(99)


def build_model(name: str, shape: Shape, classes: int, recipe: Recipe | None = None) -> keras.Model:
    """Builds a model with fresh weights.

    Args:
        name: of a recipe.
        shape: height, width and channels of an image.
        classes: the number of outputs.
        recipe: has the model's width and depth; the model's own if `None`.

    Returns:
        A model from `float32 (N, H, W, C)`, pixels in 0..1, to `float32 (N, classes)`,
        probabilities; a detector to `distances` `(N, cells, 4)` in strides and `scores`
        `(N, cells, classes)`, logits: see `detection`.

    Raises:
        UsageError: the images are too small for the model.
    """
    image = keras.Input(shape, name="image")
    if name == "detector":
        return keras.Model(image, _detector(image, classes), name=name)
    try:
        if name in _PHOTO_BODIES:
            recipe = recipe or find_recipe(name)
            x = _PHOTO_BODIES[name](image, recipe.width, recipe.depth)
        else:
            x = _BODIES[name](image)
    except ValueError as error:
        size = " by ".join(map(str, shape))
        raise UsageError(f"images of {size} are too small for the model `{name}`") from error
    start = "zeros" if name == "softmax" else "glorot_uniform"
    output = layers.Dense(
        classes, activation="softmax", kernel_initializer=start, name="probabilities"
    )(x)
    return keras.Model(image, output, name=name)


def count_macs(model: keras.Model) -> int:
    """Counts the multiply-accumulates of one image in convolutions and dense layers."""
    return sum(_layer_macs(layer) for layer in model._flatten_layers())


def _layer_macs(layer: keras.Layer) -> int:
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        # The kernel, (h, w, in, out), is applied once for each position of the output.
        _, height, width, _ = layer.output.shape
        return math.prod((*layer.kernel.shape, height, width))
    return 0


def _cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Only layers that integer engines agree on to the bit: no average and no addition.

    A stride in the first convolution costs less than pooling after it, in training too, and on
    held-back digits no accuracy.
    """
    x = _block(x, 16, "1", size=5, strides=2, padding="same")
    x = _block(x, 32, "2")
    x = _block(x, 32, "3")
    x = layers.MaxPooling2D(name="pool")(x)
    x = _block(x, 48, "4")
    return layers.Flatten(name="flatten")(x)


def _block(
    x: keras.KerasTensor,
    filters: int,
    number: str,
    size: int = 3,
    strides: int = 1,
    padding: str = "valid",
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        size,
        strides,
        padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"conv{number}",
    )(x)
    # Keras's default momentum, 0.99, lags behind weights that change as fast as these.
    x = layers.BatchNormalization(momentum=0.95, name=f"norm{number}")(x)
    return layers.ReLU(name=f"relu{number}")(x)


def _lenet(x: keras.KerasTensor) -> keras.KerasTensor:
    for number, filters in (("1", 32), ("2", 64)):
        x = layers.Conv2D(filters, 5, padding="same", name=f"conv{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(1024, name="dense1")(x)
    x = layers.ReLU(name="relu3")(x)
    return layers.Dropout(0.5, name="dropout")(x)


def _mlp(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Flatten(name="flatten")(x)
    for number, units in (("1", 128), ("2", 64)):
        x = layers.Dense(units, name=f"dense{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        x = layers.Dropout(0.1, name=f"dropout{number}")(x)
    return x


def _softmax(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Flatten(name="flatten")(x)


def _detector(x: keras.KerasTensor, classes: int) -> list[keras.KerasTensor]:
    """One map of every eighth pixel; its cells see 73 by 73 pixels."""
    x = _block(x, 16, "1", size=5, strides=2, padding="same")
    x = _block(x, 32, "2", strides=2, padding="same")
    x = _block(x, 32, "3", padding="same")
    x = _block(x, 64, "4", strides=2, padding="same")
    x = _block(x, 64, "5", padding="same")
    x = _block(x, 64, "6", padding="same")
    outputs = []
    for name, width, start in (("distances", 4, 1.5), ("scores", classes, _RARE)):
        bias = keras.initializers.Constant(start)
        map_ = layers.Conv2D(width, 3, padding="same", bias_initializer=bias, name=f"{name}_map")(x)
        cells = math.prod(map_.shape[1:3])
        outputs.append(layers.Reshape((cells, width), name=name)(map_))
    return outputs


_BODIES: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "cnn": _cnn,
    "lenet": _lenet,
    "mlp": _mlp,
    "softmax": _softmax,
}
_PHOTO_BODIES: dict[str, Callable[[keras.KerasTensor, float, int], keras.KerasTensor]] = {
    "mobilenet": mobilenet,
    "mobilenetv2": mobilenetv2,
    "resnet": resnet,
    "dscnn": dscnn,
}
