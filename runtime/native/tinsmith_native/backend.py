"""Plans on libtinsmith."""

from __future__ import annotations

import ctypes as c
import weakref
from typing import TYPE_CHECKING

import numpy as np

from tinsmith_native.library import LIBRARY, OperatorInfo, Tensor
from tinsmith_runtime.backends import Backend, Operator, TensorInfo
from tinsmith_runtime.batch import parts
from tinsmith_runtime.errors import BackendError, BundleError

if TYPE_CHECKING:
    from tinsmith_runtime.batch import Array, Arrays

_INT8 = np.dtype(np.int8)


class NativeBackend(Backend):
    """A plan on libtinsmith, which reads and writes numpy's memory as it lies there."""

    code_dtype, max_lsb = _INT8, 0
    version = f"tinsmith native {LIBRARY.tin_version().decode()}"

    def __init__(self, model: bytes, threads: int) -> None:
        handle = c.c_void_p()
        status = LIBRARY.tin_load(model, len(model), threads, c.byref(handle))
        if status:
            raise BundleError(f"libtinsmith refuses the plan: {_text(status)}")
        self._plan = model  # the library reads on in it
        self._handle = handle
        weakref.finalize(self, _free, handle, model)
        self.inputs = tuple(
            _tensor_info(LIBRARY.tin_input, handle, i)
            for i in range(LIBRARY.tin_input_count(handle))
        )
        self.outputs = tuple(
            _tensor_info(LIBRARY.tin_output, handle, i)
            for i in range(LIBRARY.tin_output_count(handle))
        )
        self._sources = (c.c_void_p * len(self.inputs))()
        self._targets = (c.c_void_p * len(self.outputs))()
        self._shape, self._out_shape = self.inputs[0].shape, self.outputs[0].shape
        self._one_each = len(self.inputs) == len(self.outputs) == 1

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        return self._run(batch, None)

    def _run(self, batch: Arrays, times: Array | None) -> Arrays:
        arrays = parts(batch)
        if len(arrays) != len(self.inputs):
            raise BackendError(f"batch: expected {len(self.inputs)} arrays, got {len(arrays)}")
        count, unsigned, held = len(arrays[0]), 0, []
        for i, (array, info) in enumerate(zip(arrays, self.inputs, strict=True)):
            if array.shape != (count, *info.shape) or array.itemsize != 1:
                name = info.name if len(arrays) > 1 else "batch"
                raise BackendError(
                    f"{name}: expected int8 or uint8 (N, {', '.join(map(str, info.shape))}), "
                    f"got {array.dtype} {array.shape}"
                )
            array = np.ascontiguousarray(array)
            held.append(array)
            unsigned |= (array.dtype != _INT8) << i
            self._sources[i] = array.ctypes.data
        outputs = [np.empty((count, *info.shape), np.int8) for info in self.outputs]
        for i, output in enumerate(outputs):
            self._targets[i] = output.ctypes.data
        place = None if times is None else times.ctypes.data
        status = LIBRARY.tin_run(self._handle, self._sources, self._targets, count, unsigned, place)
        if status:
            raise BackendError(f"libtinsmith refuses the batch: {_text(status)}")
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """See `Backend.profile`."""
        times = np.zeros(LIBRARY.tin_operator_count(self._handle), np.uint64)
        self._run(batch, times)
        count = len(parts(batch)[0])
        return tuple(
            _operator(self._handle, i, float(time) / 1000 / max(count, 1))
            for i, time in enumerate(times)
        )


def _free(handle: c.c_void_p, plan: bytes) -> None:
    """Frees a model; until then the plan is kept, whatever order a garbage collector has."""
    LIBRARY.tin_free(handle)


def _text(status: int) -> str:
    return str(LIBRARY.tin_error_text(status).decode())


def _name(at: int, count: int) -> str:
    return c.string_at(at, count).decode("utf-8", "replace")


def _tensor_info(describe: c._FuncPointer, handle: c.c_void_p, index: int) -> TensorInfo:
    tensor = Tensor()
    describe(handle, index, c.byref(tensor))
    return TensorInfo(
        _name(tensor.name, tensor.name_bytes),
        tuple(tensor.shape[: tensor.rank]),
        _INT8,
        tensor.scale,
        tensor.zero_point,
    )


def _operator(handle: c.c_void_p, index: int, time_us: float) -> Operator:
    info = OperatorInfo()
    LIBRARY.tin_operator(handle, index, c.byref(info))
    kind = f"{info.kind.decode()} ({info.kernel.decode()})"
    arithmetic = "mixed" if info.is_float else "integer"
    return Operator(_name(info.name, info.name_bytes), kind, arithmetic, time_us)
