"""The operators of the graph: a frozen dataclass each, with its fields and its traits.

What is done with an operator stands elsewhere, in tables by its class: how it is read, what layer
of Keras it is, how each target writes it. `tests/export/test_ops.py` names the holes in these.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = Literal["same", "valid"]
Clipping: TypeAlias = tuple[float | None, float | None]
"""The lowest and the highest output; `None` where there is no limit."""

UNCLIPPED: Clipping = (None, None)
RELU: Clipping = (0.0, None)


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
        name: the Keras layer's name, with a part behind a slash where a layer became several.
        inputs: the names of the nodes it reads.
        shape: of its output, without the batch.
    """

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]

    requantizes: ClassVar[bool] = False
    """It computes new values: its output has quantization parameters of its own."""
    moves_codes: ClassVar[bool] = False
    """Each code of its output is one of its inputs', or the code of zero."""
    monotone: ClassVar[bool] = False
    """A clip may stand before it or behind it: the output is the same."""
    may_compute_in_float: ClassVar[bool] = False
    """The engines have no integer kernel for it, or not for all of it."""

    @property
    def kind(self) -> str:
        """What a person calls it: the name of its class, which is Keras's where it has one."""
        return type(self).__name__


@dataclass(frozen=True, eq=False)
class InputLayer(Node):
    """An input of the model.

    Attributes:
        fed_by: of a state, the title of the output that gives it in the step before.
    """

    fed_by: str = ""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """What a user gives, without the batch."""
        return self.shape


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputLayer(Node):
    """An output of the model: what it reads is given.

    Attributes:
        title: what the model files and the bundle call it.
        activation: `softmax`, `sigmoid` or `none`: what makes the Keras model's answer of it.
        by_step: of a stream, whether the Keras model gives one for each step of a sequence.
        part_of: the title of the Keras model's output that it is a part of; empty if of none.
        start: of a part, where its first number stands in that output, the batch not counted.
    """

    title: str
    activation: str = "none"
    by_step: bool = False
    part_of: str = ""
    start: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Clipped(Node):
    """An operator whose output may be clipped: what a ReLU behind it becomes."""

    clip: Clipping = UNCLIPPED


@dataclass(frozen=True, eq=False)
class Pointwise(Node):
    """Computes each place of its output from that place of what it reads."""


@dataclass(frozen=True, eq=False)
class Joined(Node):
    """Takes its codes from several tensors, which so have the same quantization parameters."""

    moves_codes: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighted(Clipped):
    """A product with weights.

    Attributes:
        kernel: in Keras's layout.
        bias: `float32 (channels,)`, or none.
        shared: a name that all products have whose kernel and bias are one for all, as those of a
            recurrent layer's steps are; none if it is empty.
    """

    kernel: Floats
    bias: Floats | None = None
    shared: str = ""

    requantizes: ClassVar[bool] = True
    kernel_name: ClassVar[str] = "kernel"
    """What Keras calls the kernel."""

    @property
    def channel_kernel(self) -> Floats:
        """The kernel with the output channels last, `(…, channels)`."""
        return self.kernel

    @property
    def channels(self) -> int:
        """How many output channels there are."""
        return int(self.channel_kernel.shape[-1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Weighted):
    """A convolution of an image: `kernel` begins with rows and columns."""

    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation_rate: Pair = (1, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv2D(Convolution):
    """A convolution; `kernel` is `(kh, kw, C / groups, M)`."""

    groups: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class DepthwiseConv2D(Convolution):
    """A convolution of each channel alone; `kernel` is `(kh, kw, C, M)`, its output c * M + m."""

    kernel_name: ClassVar[str] = "depthwise_kernel"

    @property
    def channel_kernel(self) -> Floats:
        """The kernel as `(kh, kw, C * M)`."""
        return self.kernel.reshape(*self.kernel.shape[:2], -1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Weighted):
    """A matrix product over the last dimension; `kernel` is `(C, M)`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Pointwise):
    """`factor * x + offset`, each `float32 (C,)` or `()`; becomes part of a product."""

    factor: Floats
    offset: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class Weigh(Pointwise):
    """A product with a constant for each place, `float32 (H, W, 1)`."""

    factor: Floats

    requantizes: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Clipped, Pointwise):
    """The sum of two tensors."""

    requantizes: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiply(Clipped, Pointwise):
    """The product of two tensors, place by place."""

    requantizes: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Function(Pointwise):
    """A function of each number by itself; rewriting leaves those that it lists.

    `parameter` is the alpha of an ELU; `thresholded` is 0 up to it, and `x` above.
    """

    function: str
    parameter: float = 1.0

    requantizes: ClassVar[bool] = True
    may_compute_in_float: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip(Clipped, Pointwise):
    """A clip of its own."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenate(Joined):
    """Tensors behind each other in dimension `axis`, from 0, the batch not counted."""

    axis: int


@dataclass(frozen=True, eq=False)
class Maximum(Joined, Pointwise):
    """The larger of two tensors, place by place."""


@dataclass(frozen=True, eq=False)
class Minimum(Joined, Pointwise):
    """The smaller of two tensors, place by place."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling2D(Node):
    """A window of `pool_size` that goes over an image."""

    pool_size: Pair
    strides: Pair
    padding: Padding


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPooling2D(Pooling2D):
    """The largest number in each window."""

    moves_codes: ClassVar[bool] = True
    monotone: ClassVar[bool] = True


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePooling2D(Pooling2D):
    """The mean of the numbers in each window that lie in the image."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ZeroPadding2D(Node):
    """Rows and columns of zeros around an image: how many before and after."""

    padding: tuple[Pair, Pair]

    moves_codes: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class Rearrangement(Node):
    """Moves numbers, and makes no new ones."""

    moves_codes: ClassVar[bool] = True
    monotone: ClassVar[bool] = True

    @property
    def keeps_channels(self) -> bool:
        """Whether a number keeps its place in the last dimension, where that keeps its size."""
        return True


@dataclass(frozen=True, eq=False, kw_only=True)
class UpSampling2D(Rearrangement):
    """Each pixel repeated, `size` times in rows and columns."""

    size: Pair


@dataclass(frozen=True, eq=False, kw_only=True)
class DepthToSpace(Rearrangement):
    """Channels become pixels: blocks of `block` by `block`."""

    block: int


@dataclass(frozen=True, eq=False)
class Reshape(Rearrangement):
    """The same numbers in the same order in another shape."""
