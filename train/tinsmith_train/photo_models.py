"""The bodies of the models for photos: from an image to a vector of features.

Importing this module imports Keras.
"""

from collections.abc import Callable
from typing import TypeAlias

import keras
from keras import layers

Tensor: TypeAlias = keras.KerasTensor

# Filters and stride of each depthwise separable convolution of MobileNetV1: table 1 of Howard et
# al., MobileNets, arXiv:1704.04861.
_V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
       (1024, 1)]  # fmt: skip
# Expansion, filters, repetitions and stride: table 2 of Sandler et al., MobileNetV2,
# arXiv:1801.04381.
_V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
       (6, 320, 1, 1)]  # fmt: skip
_LARGE = 64  # pixels: larger images are halved by a resnet's first convolution


def mobilenet(x: Tensor, width: float, depth: int) -> Tensor:
    """MobileNetV1: 13 depthwise separable convolutions."""
    x = convolution(x, _filters(32, width), "0", strides=2)
    for number, (filters, strides) in enumerate(_V1, start=1):
        x = separable(x, _filters(filters, width), str(number), strides)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def mobilenetv2(x: Tensor, width: float, depth: int) -> Tensor:
    """MobileNetV2: 17 inverted residuals, ReLU up to 6."""
    x = convolution(x, _filters(32, width), "0", strides=2, limit=6)
    number = 0
    for expansion, filters, repetitions, stride in _V2:
        for repetition in range(repetitions):
            number += 1
            strides = 1 if repetition else stride
            x = _inverted(x, expansion, _filters(filters, width), str(number), strides)
    x = convolution(x, _filters(1280, max(1.0, width)), "last", size=1, limit=6)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def resnet(x: Tensor, width: float, depth: int) -> Tensor:
    """ResNet for small images, section 4.2 of He et al., arXiv:1512.03385: 6 n + 2 layers."""
    strides = 2 if max(x.shape[1:3]) > _LARGE else 1
    x = convolution(x, _filters(16, width), "0", strides=strides)
    for stack, filters in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            strides = 2 if stack and not block else 1
            x = residual(x, _filters(filters, width), f"{stack}{block}", strides)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def dscnn(x: Tensor, width: float, depth: int) -> Tensor:
    """DS-CNN: a convolution and four depthwise separable ones, Zhang et al., arXiv:1711.07128."""
    filters = _filters(64, width)
    x = convolution(x, filters, "0", size=5, strides=2)
    for number in range(1, 5):
        x = separable(x, filters, str(number), 1)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _filters(number: int, width: float) -> int:
    """Filters at a width: a multiple of 8, 8 at least, and at most a tenth fewer than asked for."""
    wanted = number * width
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def separable(
    x: Tensor, filters: int, number: str, strides: int, size: int = 3, padding: str = "same"
) -> Tensor:
    """A depthwise convolution of `size` by `size`, then one of 1 by 1, each normalized, ReLU."""
    x = layers.DepthwiseConv2D(
        size,
        strides,
        padding,
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"depth{number}",
    )(x)
    x = _normalized(x, f"depth{number}", layers.ReLU)
    return convolution(x, filters, number, size=1)


def _inverted(x: Tensor, expansion: int, filters: int, number: str, strides: int) -> Tensor:
    before, channels = x, x.shape[-1]
    if expansion > 1:
        x = convolution(x, expansion * channels, f"{number}_wide", size=1, limit=6)
    x = layers.DepthwiseConv2D(
        3, strides, "same", use_bias=False, depthwise_initializer="he_normal", name=f"depth{number}"
    )(x)
    x = _normalized(x, f"depth{number}", lambda name: layers.ReLU(6.0, name=name))
    x = convolution(x, filters, number, size=1, active=False)
    same = strides == 1 and channels == filters
    return layers.Add(name=f"add{number}")([before, x]) if same else x


def residual(x: Tensor, filters: int, number: str, strides: int, size: int = 3) -> Tensor:
    """Two convolutions of `size` by `size`, added to what came in, ReLU."""
    y = convolution(x, filters, f"{number}a", size, strides)
    y = convolution(y, filters, f"{number}b", size, active=False)
    if x.shape[-1] != filters or strides > 1:
        x = convolution(x, filters, f"{number}c", size=1, strides=strides, active=False)
    x = layers.Add(name=f"add{number}")([x, y])
    return layers.ReLU(name=f"relu{number}")(x)


def convolution(
    x: Tensor,
    filters: int,
    number: str,
    size: int = 3,
    strides: int = 1,
    limit: float | None = None,
    active: bool = True,
    padding: str = "same",
) -> Tensor:
    """A convolution without biases, normalized; then ReLU, up to `limit`, if it is `active`."""
    x = layers.Conv2D(
        filters,
        size,
        strides,
        padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"conv{number}",
    )(x)
    relu = (lambda name: layers.ReLU(limit, name=name)) if active else None
    return _normalized(x, f"conv{number}", relu)


def _normalized(x: Tensor, name: str, relu: Callable[..., layers.Layer] | None) -> Tensor:
    # Keras's default momentum, 0.99, lags behind in the few steps that a folder of photos takes.
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
    return relu(name=f"{name}_relu")(x) if relu else x
