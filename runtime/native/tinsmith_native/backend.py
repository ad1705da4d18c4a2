"""Plans on libtinsmith."""

from __future__ import annotations

import ctypes as c
import weakref
from typing import TYPE_CHECKING

from tinsmith_native.library import LIBRARY, OperatorInfo, Tensor
from tinsmith_runtime.backends import Backend, Operator, TensorInfo
from tinsmith_runtime.batch import count, joined, parts, rows
from tinsmith_runtime.errors import BackendError, BundleError
from tinsmith_runtime.lazy import np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinsmith_runtime.batch import Array, Arrays

_SIGNED = bytes(i ^ 0x80 for i in range(256))  # from a uint8 code to the int8 one


class NativeBackend(Backend):
    """A plan on libtinsmith, which reads and writes numpy's memory as it lies there."""

    code_dtype, max_lsb = "int8", 0
    version = f"tinsmith native {LIBRARY.tin_version().decode()}"

    def __init__(self, model: bytes, threads: int) -> None:
        handle = c.c_void_p()
        status = LIBRARY.tin_load(model, len(model), threads, c.byref(handle))
        if status:
            raise BundleError(f"libtinsmith refuses the plan: {_text(status)}")
        self._handle = handle
        # Until then the plan is kept, in which the library reads on.
        weakref.finalize(self, _free, handle, model)
        sources = _tensors(LIBRARY.tin_input, handle, LIBRARY.tin_input_count(handle))
        targets = _tensors(LIBRARY.tin_output, handle, LIBRARY.tin_output_count(handle))
        self.inputs, self.outputs = tuple(map(_info, sources)), tuple(map(_info, targets))
        self._ends = sources[0], targets[0]
        plain = len(sources) == len(targets) == 1
        self._plain = (1, *self.inputs[0].shape) if plain else None
        self._arrays: tuple[Array, Array, Array, Array] | None = None

    def _make_arrays(self) -> tuple[Array, Array, Array, Array]:
        """The first input's memory as int8 and as uint8, the first output's, and the sign bit."""
        source, target = map(_memory, self._ends)
        # An array, though of one number: numpy takes a scalar of its own in twice the time.
        self._arrays = source, source.view(np.uint8), target, np.array(0x80, np.uint8)
        return self._arrays

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        # One sample takes no pointers: what a small model computes takes microseconds.
        if not isinstance(batch, tuple) and batch.shape == self._plain:
            source, codes, target, sign_bit = self._arrays or self._make_arrays()
            if batch.dtype == codes.dtype:
                np.bitwise_xor(batch, sign_bit, codes)
            elif batch.dtype == source.dtype:
                np.copyto(source, batch)
            else:
                return self._run(batch, None)  # it says what is wrong
            LIBRARY.tin_run(self._handle, None, None, 1, 0, None)
            return target.copy()
        return self._run(batch, None)

    def run_pixels(self, pixels: memoryview) -> bytes:
        """See `Backend.run_pixels`."""
        source, target = self._ends
        # Raises an error where the sizes differ.
        memory = memoryview((c.c_uint8 * source.bytes).from_address(source.memory)).cast("B")
        memory[:] = bytes(pixels).translate(_SIGNED)
        LIBRARY.tin_run(self._handle, None, None, 1, 0, None)
        return c.string_at(target.memory, target.bytes)

    def _run(self, batch: Arrays, times: Array | None) -> Arrays:
        arrays = self._checked(parts(batch))
        size = len(arrays[0])
        outputs = [np.empty((size, *info.shape), np.int8) for info in self.outputs]
        unsigned = sum((array.dtype == np.uint8) << i for i, array in enumerate(arrays))
        place = None if times is None else times.ctypes.data
        status = LIBRARY.tin_run(
            self._handle, _pointers(arrays), _pointers(outputs), size, unsigned, place
        )
        if status:
            raise BackendError(f"libtinsmith refuses the batch: {_text(status)}")
        return joined(outputs)

    def _checked(self, arrays: tuple[Array, ...]) -> list[Array]:
        """The arrays of a batch, contiguous; the library takes their sizes on trust."""
        if len(arrays) != len(self.inputs):
            raise BackendError(f"batch: expected {len(self.inputs)} arrays, got {len(arrays)}")
        for array, info in zip(arrays, self.inputs, strict=True):
            expected = len(arrays[0]), *info.shape
            if array.shape != expected or array.dtype not in (np.int8, np.uint8):
                name = info.name if len(arrays) > 1 else "batch"
                raise BackendError(
                    f"{name}: expected int8 or uint8 (N, {', '.join(map(str, info.shape))}), "
                    f"got {array.dtype} {array.shape}"
                )
        return [np.ascontiguousarray(array) for array in arrays]

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """See `Backend.profile`."""
        size = count(batch)
        times = np.zeros((size, LIBRARY.tin_operator_count(self._handle)), np.uint64)
        for i in range(size):
            self._run(rows(batch, slice(i, i + 1)), times[i])
        # Without the slowest tenth: what a busy machine does to a call is none of its.
        typical_ns = np.sort(times, axis=0)[: max(1, size * 9 // 10)].mean(axis=0)
        return tuple(
            _operator(self._handle, i, time_ns / 1000) for i, time_ns in enumerate(typical_ns)
        )


def _free(handle: c.c_void_p, plan: bytes) -> None:
    LIBRARY.tin_free(handle)


def _text(status: int) -> str:
    return str(LIBRARY.tin_error_text(status).decode())


def _name(at: int, size: int) -> str:
    return c.string_at(at, size).decode("utf-8", "replace")


def _pointers(arrays: list[Array]) -> c.Array[c.c_void_p]:
    return (c.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _tensors(describe: Callable[..., int], handle: c.c_void_p, size: int) -> list[Tensor]:
    """The inputs or the outputs of a model."""
    found = [Tensor() for _ in range(size)]
    for index, tensor in enumerate(found):
        describe(handle, index, c.byref(tensor))
    return found


def _info(tensor: Tensor) -> TensorInfo:
    name, shape = _name(tensor.name, tensor.name_bytes), tuple(tensor.shape[: tensor.rank])
    return TensorInfo(name, shape, "int8", tensor.scale, tensor.zero_point)


def _memory(tensor: Tensor) -> Array:
    """The codes where the model has them, `int8 (1, ...)`; who keeps it must keep the model."""
    memory = (c.c_int8 * tensor.bytes).from_address(tensor.memory)
    return np.frombuffer(memory, np.int8).reshape(1, *tensor.shape[: tensor.rank])


def _operator(handle: c.c_void_p, index: int, time_us: float) -> Operator:
    info = OperatorInfo()
    LIBRARY.tin_operator(handle, index, c.byref(info))
    kind = f"{info.kind.decode()} ({info.kernel.decode()})"
    arithmetic = "mixed" if info.is_float else "integer"
    return Operator(_name(info.name, info.name_bytes), kind, arithmetic, time_us)
