"""A bundle's model file on its engine: checked, one call at a time, and sound after a `fork`."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.backends import Backend, BackendSpec, Operator, TensorInfo, signed
from tinsmith_runtime.batch import concatenate, each, joined, rows
from tinsmith_runtime.bundle import Input, Manifest, Variant
from tinsmith_runtime.errors import BundleError, UsageError
from tinsmith_runtime.lazy import np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinsmith_runtime.batch import Array, Arrays

# A larger batch is computed in pieces, so that memory does not grow with it.
_MAX_BATCH = 64


class Engine:
    """One model file on one engine; threads may share it.

    Attributes:
        name: of the engine.
        version: the engine and its version, for a person.
        dtype: of what `run` gives, or its name: `int8` codes, or `uint8`, which are the same plus
            128, from an int8 variant, as the engine has them; `float32` from a float one.

    Args:
        spec: of the engine.
        manifest: what the bundle says of its models.
        variant: the model file to run.
        data: its bytes.
        threads: how many threads the engine may use.

    Raises:
        BackendError: the engine is missing or does not start.
        BundleError: its model is not what the manifest says.
    """

    def __init__(
        self, spec: BackendSpec, manifest: Manifest, variant: Variant, data: bytes, threads: int
    ) -> None:
        self._spec, self.name = spec, spec.name
        self._manifest, self._variant, self._threads = manifest, variant, threads
        self._integer = variant.precision == "int8"
        self._data: bytes | None = data
        self._lock = threading.Lock()
        self._backend: Backend | None = None
        backend = self._start(data)
        self.version, self.max_lsb = backend.version, backend.max_lsb
        self.dtype = backend.code_dtype if self._integer else backend.outputs[0].dtype
        self._encoders = [_encoder(entry, self._integer, self.dtype) for entry in manifest.inputs]
        self._encode = self._encoders[0]
        _ALIVE.add(self)

    def _start(self, data: bytes) -> Backend:
        try:
            backend = self._spec.open(data, self._threads)
        except BundleError as error:
            raise BundleError(f"{self._variant.file}: {error}") from error
        _check(backend, self._manifest, self._variant)
        self._backend = backend
        return backend

    def run(self, batch: Arrays) -> Arrays:
        """Computes a batch; a second thread waits for its turn.

        Args:
            batch: for each input `uint8 (N, H, W, C)`, or `float32` features without NaN, of the
                model's shape.

        Returns:
            For each output `(N, ...)` of `dtype`.

        Raises:
            UsageError: the engine is closed.
        """
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            size = len(batch[0] if isinstance(batch, tuple) else batch)
            if 0 < size <= _MAX_BATCH:
                return backend.run(self.encode(batch))
            pieces = [
                backend.run(self.encode(rows(batch, slice(start, start + _MAX_BATCH))))
                for start in range(0, size, _MAX_BATCH)
            ]
            empty = [np.empty((0, *output.shape), self.dtype) for output in backend.outputs]
        return concatenate([*pieces, joined(empty)])

    def run_step(self, given: tuple[Array, ...], states: tuple[Array, ...]) -> Arrays:
        """Computes a step of a stream.

        Args:
            given: of each input that is no state, as `run` takes it.
            states: as the step before gave them.
        """
        encoders = zip(self._encoders, given, strict=False)  # there are some for states too
        encoded = tuple(encode(array) if encode else array for encode, array in encoders)
        return self.run_encoded((*encoded, *states))

    def run_pixels(self, pixels: memoryview[Any]) -> bytes:
        """Computes one image of an int8 variant; see `Backend.run_pixels`."""
        with self._lock:
            return (self._backend or self._start(self.require_open())).run_pixels(pixels)

    def run_encoded(self, encoded: Arrays) -> Arrays:
        """Computes what `encode` gave, all in one call of the engine; otherwise as `run`."""
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            return backend.run(encoded)

    def profile(self, encoded: Arrays) -> tuple[Operator, ...]:
        """Says what the engine runs, and what each operator costs; see `Backend.profile`."""
        with self._lock:
            backend = self._backend or self._start(self.require_open())
            return backend.profile(encoded)

    def encode(self, batch: Arrays) -> Arrays:
        """Turns pixels or features into what the backend takes."""
        if isinstance(batch, tuple):
            pairs = zip(self._encoders, batch, strict=True)
            return tuple(encode(array) if encode else array for encode, array in pairs)
        return self._encode(batch) if self._encode else batch

    def clone(self) -> Engine:
        """Starts the same bytes once more.

        Raises:
            UsageError: the engine is closed.
        """
        data = self.require_open()
        return Engine(self._spec, self._manifest, self._variant, data, self._threads)

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


_ALIVE: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_all() -> None:
    for engine in list(_ALIVE):
        engine._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _encoder(
    entry: Input, integer: bool, dtype: np.dtype[Any] | str
) -> Callable[[Array], Array] | None:
    """From an array of a batch to what the backend runs; pixels are codes plus 128 already."""
    if entry.kind == "ids":
        from tinsmith_runtime.inputs.features import id_bytes

        return id_bytes if integer else lambda ids: id_bytes(ids).astype("f4")
    if integer == (entry.kind == "image"):
        return None
    if integer:
        from tinsmith_runtime.inputs.features import quantizer

        return quantizer(entry.scale, entry.zero_point, dtype)
    codes = np.arange(256, dtype=np.float64) - 128 - entry.zero_point
    return (codes * entry.scale).astype(np.float32).take


def to_int8(codes: Arrays) -> Arrays:
    """Gives codes as int8, whichever way an engine has them; floats are left alone."""
    return each(signed, codes)


def _check(backend: Backend, manifest: Manifest, variant: Variant) -> None:
    """Compares what the engine reports of the model file with what the manifest says of it."""
    integer = variant.precision == "int8"
    dtype = "int8" if integer else "float32"
    for side in ("inputs", "outputs"):
        specs, tensors = getattr(manifest, side), getattr(backend, side)
        _agree(backend, variant, side, len(specs), len(tensors))
        for index, (spec, found) in enumerate(zip(specs, tensors, strict=True)):
            scale, zero_point = (spec.scale, spec.zero_point) if integer else (0.0, 0)
            # What there is one of needs no name to be told apart.
            name = spec.name if len(specs) > 1 else found.name
            shape = spec.sample_shape + (2,) * (spec.kind == "ids")
            promised = TensorInfo(name, shape, dtype, scale, zero_point)
            for field in TensorInfo.__annotations__:
                pair = getattr(promised, field), getattr(found, field)
                _agree(backend, variant, f"{side}[{index}].{field}", *pair)


def _agree(backend: Backend, variant: Variant, path: str, expected: object, got: object) -> None:
    if expected != got:
        raise BundleError(
            f"{variant.file}: {path}: the manifest says {expected}, {backend.version} says {got}"
        )
