"""A bundle's model file on its engine: checked, one call at a time, and sound after a `fork`."""

from __future__ import annotations

import ctypes
import os
import weakref
from _thread import allocate_lock  # threading takes 1 ms to import
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tinsmith_runtime.backends import SIGN_BIT, Backend, Operator, TensorInfo, create_backend
from tinsmith_runtime.errors import BundleError, UsageError
from tinsmith_runtime.manifest import ENGINE_OF_FORMAT, Input, Manifest, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# A larger batch is computed in pieces, so that memory does not grow with it.
_MAX_BATCH = 64


class Engine:
    """One model file on one engine; threads may share it.

    Attributes:
        name: of the engine.
        version: the engine and its version, for a person.
        dtype: of what `run` gives: `int8` codes, or `uint8`, which are the same plus 128, from an
            int8 variant, as the engine has them; `float32` from a float one.

    Args:
        manifest: what the bundle says of its models.
        variant: the model file to run.
        data: its bytes.
        threads: how many threads the engine may use.

    Raises:
        BackendError: the engine is missing or does not start.
        BundleError: its model is not what the manifest says.
    """

    def __init__(self, manifest: Manifest, variant: Variant, data: bytes, threads: int) -> None:
        self._manifest, self._variant, self._threads = manifest, variant, threads
        self._integer = variant.precision == "int8"
        self._data: bytes | None = data
        self._lock = allocate_lock()
        self._backend: Backend | None = None
        backend = self._start(data)
        self.name, self.version, self.max_lsb = backend.name, backend.version, backend.max_lsb
        self.dtype = backend.code_dtype if self._integer else backend.output.dtype
        self._encode = _encoder(manifest.input, self._integer, self.dtype)
        _ALIVE.add(self)

    def _start(self, data: bytes) -> Backend:
        name = ENGINE_OF_FORMAT[self._variant.format]
        try:
            backend = create_backend(name, data, self._threads)
        except BundleError as error:
            raise BundleError(f"{self._variant.file}: {error}") from error
        _check(backend, self._manifest, self._variant)
        self._backend = backend
        return backend

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Computes a batch; a second thread waits for its turn.

        Args:
            batch: `uint8 (N, H, W, C)` or `float32` features without NaN, of the model's shape.

        Returns:
            `(N, ...)` of `dtype`.

        Raises:
            UsageError: the engine is closed.
        """
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            if 0 < len(batch) <= _MAX_BATCH:
                return backend.run(self.encode(batch))
            pieces = [
                backend.run(self.encode(batch[start : start + _MAX_BATCH]))
                for start in range(0, len(batch), _MAX_BATCH)
            ]
            empty = np.empty((0, *backend.output.shape), self.dtype)
        return np.concatenate([*pieces, empty])

    def run_encoded(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Computes what `encode` gave, all in one call of the engine; otherwise as `run`."""
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            return backend.run(encoded)

    def profile(self, encoded: NDArray[Any]) -> tuple[Operator, ...]:
        """Says what the engine runs, and what each operator costs; see `Backend.profile`."""
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            return backend.profile(encoded)

    def encode(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Turns pixels or features into what the backend takes."""
        return self._encode(batch) if self._encode else batch

    def clone(self) -> Engine:
        """Starts the same bytes once more.

        Raises:
            UsageError: the engine is closed.
        """
        return Engine(self._manifest, self._variant, self.require_open(), self._threads)

    def require_open(self) -> bytes:
        """Gives the bytes that run.

        Raises:
            UsageError: the engine is closed.
        """
        if self._data is None:
            raise UsageError("the model is closed: load the bundle again")
        return self._data

    def close(self) -> None:
        """Frees the engine, once the call that is under way is done."""
        with self._lock:
            self._backend = self._data = None

    def _forget(self) -> None:
        """Has a child process start an engine of its own when it first needs one.

        The threads of the parent's engine do not exist in the child: to run it there would wait
        for them for ever, and so would its destructor. The child never frees it.
        """
        self._lock = allocate_lock()  # a thread of the parent may have held the old one
        if self._backend is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._backend))
            self._backend = None


_ALIVE: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_all() -> None:
    for engine in list(_ALIVE):
        engine._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _encoder(
    entry: Input, integer: bool, dtype: np.dtype[Any]
) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """From a batch to what the backend runs; pixels are codes plus 128 already."""
    if integer == (entry.kind == "image"):
        return None
    if integer:
        from tinsmith_runtime.features import quantizer

        return quantizer(entry.scale, entry.zero_point, dtype)
    codes = np.arange(256, dtype=np.float64) - 128 - entry.zero_point
    return (codes * entry.scale).astype(np.float32).take


def to_int8(codes: NDArray[Any]) -> NDArray[Any]:
    """Gives codes as int8, whichever way an engine has them; floats are left alone."""
    return (codes ^ SIGN_BIT).view(np.int8) if codes.dtype == np.uint8 else codes


def _check(backend: Backend, manifest: Manifest, variant: Variant) -> None:
    """Compares what the engine reports of the model file with what the manifest says of it."""
    integer = variant.precision == "int8"
    dtype = np.dtype(np.int8 if integer else np.float32)
    for side in ("input", "output"):
        spec = getattr(manifest, side)
        scale, zero_point = (spec.scale, spec.zero_point) if integer else (0.0, 0)
        promised = TensorInfo(spec.sample_shape, dtype, scale, zero_point)
        found: TensorInfo = getattr(backend, side)
        for name in (field.name for field in fields(TensorInfo)):
            expected, got = getattr(promised, name), getattr(found, name)
            if expected != got:
                raise BundleError(
                    f"{variant.file}: {side}.{name}: the manifest says {expected}, "
                    f"{backend.version} says {got}"
                )
