"""What an engine must do: one array in, one array out."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """What an engine reports of a tensor; `scale` 0 where it is not quantized.

    Attributes:
        shape: without the batch, for example `(28, 28, 1)`.
        dtype: `int8` or `float32`, as the backend takes or gives it.
        scale: `float = (int8 - zero_point) * scale`.
        zero_point: in -128..127.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class Backend(Protocol):
    """One model file on one engine.

    Attributes:
        name: `litert` or `onnx`.
        version: the engine and its version, for a person.
        input: what `run` takes.
        output: what `run` gives.
        max_lsb: how far its int8 outputs may be from a bundle's golden ones.
    """

    name: str
    version: str
    max_lsb: int
    input: TensorInfo
    output: TensorInfo

    def __init__(self, model: bytes, threads: int) -> None:
        """Loads a model file on `threads` threads."""

    def run(self, batch: Array) -> Array:
        """Computes a batch.

        Args:
            batch: `(N, *input.shape)` of `input.dtype`.

        Returns:
            `(N, *output.shape)` of `output.dtype`, not overwritten by a later call.
        """
