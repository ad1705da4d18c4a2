"""Networks by numbers: what each block of a family is made of. `tinsmith search` builds these.

| family | first block | every other block | before the classes |
|---|---|---|---|
| `cnn` | convolution | convolution | all values |
| `mobilenet` | convolution | depthwise separable convolution | mean of each channel |
| `dscnn` | convolution | the same, all blocks as wide as the first | mean of each channel |
| `resnet` | convolution | two convolutions and what came in, added | mean of each channel |

Importing this module imports Keras.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
from keras import layers

from tinsmith_runtime.errors import UsageError
from tinsmith_train.photo_models import Tensor, convolution, residual, separable

_Block = Callable[[Tensor, int, str, int, int, str], Tensor]


def _convolved(x: Tensor, width: int, name: str, kernel: int, stride: int, padding: str) -> Tensor:
    return convolution(x, width, name, kernel, stride, padding=padding)


def _separated(x: Tensor, width: int, name: str, kernel: int, stride: int, padding: str) -> Tensor:
    return separable(x, width, name, stride, kernel, padding)


def _added(x: Tensor, width: int, name: str, kernel: int, stride: int, padding: str) -> Tensor:
    return residual(x, width, name, stride, kernel)


FAMILIES: Mapping[str, tuple[_Block, str]] = {
    "cnn": (_convolved, "flatten"),
    "mobilenet": (_separated, "mean"),
    "dscnn": (_separated, "mean"),
    "resnet": (_added, "mean"),
}
"""The blocks behind the first one, and what comes before the classes."""


@dataclass(frozen=True)
class Architecture:
    """A network of one family.

    Attributes:
        family: one of `FAMILIES`.
        widths: filters of each block; a `dscnn` has those of the first in all.
        kernels: height and width of each block's kernels.
        strides: of each block.
        pools: of each block's maximum pooling; 1 for none.
        padding: `same` or `valid`; the sums of a `resnet` need `same`.
        head: `flatten` or `mean`; the family's own if `None`.
    """

    family: str
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    pools: tuple[int, ...]
    padding: str = "same"
    head: str | None = None


def build(architecture: Architecture, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds a network with fresh weights.

    Args:
        architecture: its blocks.
        shape: height, width and channels of an image.
        classes: the number of outputs.

    Returns:
        A model from `float32 (N, H, W, C)`, pixels in 0..1, to `float32 (N, classes)`,
        probabilities.

    Raises:
        UsageError: nothing is left of an image behind some block.
    """
    x = image = keras.Input(shape, name="image")
    block, head = FAMILIES[architecture.family]
    rows = zip(
        architecture.widths,
        architecture.kernels,
        architecture.strides,
        architecture.pools,
        strict=True,
    )
    for number, (width, kernel, stride, pool) in enumerate(rows):
        if architecture.family == "dscnn":
            width = architecture.widths[0]
        _require_room(x, kernel if architecture.padding == "valid" else 1, number)
        x = (block if number else _convolved)(
            x, width, str(number), kernel, stride, architecture.padding
        )
        if pool > 1:
            _require_room(x, pool, number)
            x = layers.MaxPooling2D(pool, name=f"pool{number}")(x)
    if (architecture.head or head) == "flatten":
        x = layers.Flatten(name="flatten")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="mean")(x)
    output = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, output, name=architecture.family)


def _require_room(x: Tensor, size: int, number: int) -> None:
    height, width = x.shape[1:3]
    if min(height, width) < size:
        raise UsageError(
            f"block {number + 1} takes {size} by {size} pixels, but {height} by {width} are left"
        )
