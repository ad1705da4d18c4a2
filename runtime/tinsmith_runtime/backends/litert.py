"""TFLite files on LiteRT, or on `tflite_runtime`, its older name, where only that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinsmith_runtime.backends.buffers import NO_BATCH, SIGN_BIT
from tinsmith_runtime.backends.diagnosis import raised_by
from tinsmith_runtime.backends.protocol import (
    Backend,
    Operator,
    TensorInfo,
    arithmetic,
    require_shapes,
    require_tensors,
    signed,
)
from tinsmith_runtime.backends.registry import LITERT
from tinsmith_runtime.errors import BackendError, BundleError, printable
from tinsmith_runtime.quiet import mute_stderr

if TYPE_CHECKING:
    from tinsmith_runtime.batch import Array, Arrays

# A package that is there but broken is not passed over for the other: the error says so.
if LITERT.package == "ai_edge_litert":
    from ai_edge_litert import __version__
    from ai_edge_litert.interpreter import Interpreter

    _VERSION, _MAX_LSB = printable(f"LiteRT {__version__}"), 0
else:
    from tflite_runtime import __version__
    from tflite_runtime.interpreter import Interpreter

    # TFLite's older kernels, which round a sum in two steps where LiteRT's round it once.
    _VERSION, _MAX_LSB = printable(f"tflite_runtime {__version__}"), 1

# Of shapes and the like, which say nothing of what an operator computes in.
_INDICES = ("int32", "int64")


class LiteRtBackend(Backend):
    """A TFLite file on LiteRT; a new batch size resizes the inputs once."""

    code_dtype = np.dtype(np.int8)
    max_lsb = _MAX_LSB

    def __init__(self, model: bytes, threads: int) -> None:
        # tflite_runtime follows whatever offsets a file begins with, out of it if need be.
        if model[4:8] != b"TFL3":
            raise BundleError("expected a TFLite model: its identifier TFL3 is missing")
        try:
            self._interpreter = open_interpreter(model, threads)
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (RuntimeError, ValueError) as error:
            if not raised_by(error, *LITERT.packages):
                raise
            raise BundleError(f"LiteRT refuses the model: {error}") from error
        require_tensors(len(inputs), len(outputs))
        self.version = _VERSION
        self.inputs = tuple(map(_tensor_info, inputs))
        self.outputs = tuple(map(_tensor_info, outputs))
        self._sources: list[int] = [tensor["index"] for tensor in inputs]
        self._targets: list[int] = [tensor["index"] for tensor in outputs]
        self._index, self._several = self._sources[0], len(self._targets) > 1
        # Of the shape that the engine's inputs have, or of none while that is not sure.
        self._buffer = NO_BATCH

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        interpreter = self._interpreter
        try:
            if isinstance(batch, tuple):
                self._feed(batch)
            # One array takes no loop: what a small model computes takes microseconds.
            elif batch.shape != self._buffer.shape:
                self._feed((batch,))
            else:
                if batch.dtype == np.uint8:
                    batch = np.bitwise_xor(batch, SIGN_BIT, self._buffer).view(np.int8)
                interpreter.set_tensor(self._index, batch)
            interpreter.invoke()
            if self._several:
                return tuple(interpreter.get_tensor(index) for index in self._targets)
            result: Array = interpreter.get_tensor(self._targets[0])
        except (RuntimeError, ValueError) as error:
            if not raised_by(error, *LITERT.packages):
                raise
            raise BackendError(f"LiteRT refuses the batch: {error}") from error
        return result

    def _feed(self, arrays: tuple[Array, ...]) -> None:
        """Writes the inputs, after they were resized where there are more samples or fewer."""
        require_shapes(arrays, self.inputs)
        if arrays[0].shape != self._buffer.shape:
            # Whatever interrupts this, the next call does it once more.
            self._buffer = NO_BATCH
            for array, index in zip(arrays, self._sources, strict=True):
                self._interpreter.resize_tensor_input(index, array.shape)
            self._interpreter.allocate_tensors()
            self._buffer = np.empty(arrays[0].shape, np.uint8)
        for array, index in zip(arrays, self._sources, strict=True):
            self._interpreter.set_tensor(index, signed(array))

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """See `Backend.profile`: the Python face of LiteRT 2.3 names operators, and times none."""
        tensors = {one["index"]: one for one in self._interpreter.get_tensor_details()}
        operators = []
        for one in self._interpreter._get_ops_details():
            if one["op_name"] == "DELEGATE":  # XNNPACK, which runs some of the others
                continue
            # The data and, where there are any, the weights; biases come behind them.
            found = [tensors[i] for i in (*one["inputs"][:2], one["outputs"][0]) if i in tensors]
            dtypes = [np.dtype(tensor["dtype"]).name for tensor in found]
            data = [dtype for dtype in dtypes if dtype not in _INDICES] or dtypes
            name = found[-1]["name"].split(";")[0]
            operators.append(Operator(name, one["op_name"], arithmetic(data), None))
        return tuple(operators)


def open_interpreter(model: bytes, threads: int) -> Any:
    """Opens a TFLite file."""
    with mute_stderr():  # it announces its delegate, at every start of a program
        interpreter = Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


def _tensor_info(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    shape = tuple(int(size) for size in details["shape"][1:])
    dtype = np.dtype(details["dtype"])
    return TensorInfo(details["name"], shape, dtype, float(scale), int(zero_point))
