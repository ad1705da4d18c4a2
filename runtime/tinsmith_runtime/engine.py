"""A bundle's model file on its engine: checked, one call at a time, and sound after a `fork`."""

import ctypes
import os
import threading
import weakref
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.backends import Backend, Operator, TensorInfo, create_backend
from tinsmith_runtime.errors import BackendError, UsageError
from tinsmith_runtime.manifest import ENGINE_OF_FORMAT, Manifest, Variant

# A larger batch is computed in pieces, so that memory does not grow with it.
_MAX_BATCH = 64
_SIGN_BIT = np.uint8(0x80)


class Engine:
    """One model file on one engine; threads may share it.

    Args:
        manifest: what the bundle says of its models.
        variant: the model file to run.
        data: its bytes.
        threads: how many threads the engine may use.

    Raises:
        BackendError: the engine is missing, or its model is not what the manifest says.
    """

    def __init__(self, manifest: Manifest, variant: Variant, data: bytes, threads: int) -> None:
        self._manifest, self._variant, self._threads = manifest, variant, threads
        self._integer = variant.precision == "int8"
        self._data: bytes | None = data
        self._lock = threading.Lock()
        entry = manifest.input
        # The float value of each pixel, for the float variants.
        codes = np.arange(256, dtype=np.float64) - 128 - entry.zero_point
        self._float_of_pixel = (codes * entry.scale).astype(np.float32)
        self._backend: Backend | None = None
        backend = self._start(data)
        self.name, self.version = backend.name, backend.version
        _ALIVE.add(self)

    def _start(self, data: bytes) -> Backend:
        name = ENGINE_OF_FORMAT[self._variant.format]
        backend = create_backend(name, data, self._threads)
        _check(backend, self._manifest, self._variant)
        self._backend = backend
        return backend

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Computes a batch; a second thread waits for its turn.

        Args:
            pixels: `uint8 (N, H, W, C)`, the model's shape.

        Returns:
            `(N, classes)`: `int8` codes from an int8 variant, `float32` logits from a float one.

        Raises:
            UsageError: the engine is closed.
        """
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            if 0 < len(pixels) <= _MAX_BATCH:
                return backend.run(self.encode(pixels))
            pieces = [
                backend.run(self.encode(pixels[start : start + _MAX_BATCH]))
                for start in range(0, len(pixels), _MAX_BATCH)
            ]
        classes = len(self._manifest.output.labels)
        empty = np.empty((0, classes), np.int8 if self._integer else np.float32)
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

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Turns pixels into what the engine takes: `int8`, or `float32` for a float variant."""
        if self._integer:
            return np.bitwise_xor(pixels, _SIGN_BIT).view(np.int8)
        return self._float_of_pixel[pixels]

    def clone(self) -> "Engine":
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
        self._lock = threading.Lock()  # a thread of the parent may have held the old one
        if self._backend is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._backend))
            self._backend = None


_ALIVE: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _forget_all() -> None:
    for engine in list(_ALIVE):
        engine._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _check(backend: Backend, manifest: Manifest, variant: Variant) -> None:
    """Compares what the engine reports of the model file with what the manifest says of it."""
    integer = variant.precision == "int8"
    dtype = np.dtype(np.int8 if integer else np.float32)
    for side in ("input", "output"):
        spec = getattr(manifest, side)
        scale, zero_point = (spec.scale, spec.zero_point) if integer else (0.0, 0)
        promised = TensorInfo(spec.shape[1:], dtype, scale, zero_point)
        found: TensorInfo = getattr(backend, side)
        for name in (field.name for field in fields(TensorInfo)):
            expected, got = getattr(promised, name), getattr(found, name)
            if expected != got:
                raise BackendError(
                    f"{variant.file}: {side}.{name}: the manifest says {expected}, "
                    f"{backend.version} says {got}"
                )
