"""What an engine must do: a batch in, a batch out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinsmith_runtime.batch import parts
from tinsmith_runtime.errors import BackendError, BundleError
from tinsmith_runtime.lazy import np
from tinsmith_runtime.record import frozen_dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinsmith_runtime.batch import Array, Arrays


def signed(codes: Array) -> Array:
    """Gives `uint8` codes, which are 128 more, as `int8`; anything else is left alone."""
    return (codes ^ 0x80).view(np.int8) if codes.dtype == np.uint8 else codes


def unsigned(codes: Array) -> Array:
    """Gives `int8` codes as the same plus 128, `uint8`; anything else is left alone."""
    return codes.view(np.uint8) ^ 0x80 if codes.dtype == np.int8 else codes


@frozen_dataclass(frozen=True)
class TensorInfo:
    """What an engine reports of a tensor; `scale` 0 where it is not quantized.

    Attributes:
        name: the tensor's, in the file.
        shape: without the batch, for example `(28, 28, 1)`.
        dtype: `int8` or `float32`, as the backend takes or gives it; its name will do.
        scale: `float = (int8 - zero_point) * scale`.
        zero_point: in -128..127.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | str
    scale: float
    zero_point: int


def require_shapes(arrays: tuple[Array, ...], inputs: tuple[TensorInfo, ...]) -> None:
    """Raises a `BackendError` unless each array is `(N, *shape)`; numpy might broadcast it."""
    if len(arrays) != len(inputs):
        raise BackendError(f"batch: expected {len(inputs)} arrays, got {len(arrays)}")
    for array, info in zip(arrays, inputs, strict=True):
        if array.shape[1:] != info.shape or array.shape[:1] != arrays[0].shape[:1]:
            name = info.name if len(inputs) > 1 else "batch"
            expected = ", ".join(map(str, info.shape))
            raise BackendError(f"{name}: expected shape (N, {expected}), got {array.shape}")


def require_tensors(inputs: int, outputs: int) -> None:
    """Raises a `BundleError` unless a model has inputs and outputs."""
    if not inputs or not outputs:
        raise BundleError(f"expected inputs and outputs, got {inputs} and {outputs}")


@frozen_dataclass(frozen=True)
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


class Backend:
    """One model file on one engine: the base of the classes that know an engine.

    Attributes:
        version: the engine and its version, for a person.
        inputs: what `run` takes, in the file's order.
        outputs: what `run` gives, likewise.
        code_dtype: what `run` gives for codes that are `uint8`, or its name.
        max_lsb: how far its int8 outputs may be from a bundle's golden ones.
    """

    version: str
    max_lsb: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    code_dtype: np.dtype[Any] | str

    def __init__(self, model: bytes, threads: int) -> None:
        """Loads a model file on `threads` threads."""
        raise NotImplementedError

    def run(self, batch: Arrays) -> Arrays:
        """Computes a batch.

        Args:
            batch: for each input `(N, *shape)` of its dtype; or `uint8`, int8 codes plus 128.

        Returns:
            For each output `(N, *shape)` of its dtype, or of `code_dtype` where all of the batch
            is `uint8`, as the engine has them; not overwritten by a later call.
        """
        raise NotImplementedError

    def run_pixels(self, pixels: memoryview[Any]) -> bytes:
        """Computes one image for a model of one input and one output.

        Args:
            pixels: `uint8`, of the size of the input and in its order.

        Returns:
            The output's int8 codes. An engine that can do so does without numpy.
        """
        batch = np.frombuffer(pixels, np.uint8).reshape(1, *self.inputs[0].shape)
        return signed(parts(self.run(batch))[0]).tobytes()

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """Says which operators the engine runs, in order, and where it can what each costs.

        Args:
            batch: what `run` takes; each sample of it is computed by itself.
        """
        raise NotImplementedError
