"""What an engine must do: one array in, one array out."""

from collections.abc import Iterable
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


@dataclass(frozen=True)
class Operator:
    """One operator of a model as an engine runs it.

    Attributes:
        name: the node's, or its output's.
        kind: what the engine calls it: `QLinearConv`, `CONV_2D`.
        arithmetic: `integer`, `float`, or `mixed` where it turns one into the other.
        time_us: mean time a call; `None` where the engine does not tell.
    """

    name: str
    kind: str
    arithmetic: str
    time_us: float | None


def arithmetic(dtypes: Iterable[str]) -> str:
    """Says what an operator computes in whose tensors have these dtypes."""
    found = {"float" if "float" in dtype else "integer" for dtype in dtypes}
    return found.pop() if len(found) == 1 else "mixed"


class Backend(Protocol):
    """One model file on one engine.

    Attributes:
        name: `litert` or `onnx`.
        version: the engine and its version, for a person.
        input: what `run` takes.
        output: what `run` gives.
    """

    name: str
    version: str
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

    def profile(self, batch: Array) -> tuple[Operator, ...]:
        """Says which operators the engine runs, in order, and where it can what each costs.

        Args:
            batch: what `run` takes; each input of it is computed by itself.
        """
