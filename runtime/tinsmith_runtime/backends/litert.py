"""TFLite files on LiteRT, or on `tflite_runtime`, its older name, where only that exists."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from tinsmith_runtime.backends.protocol import (
    SIGN_BIT,
    Backend,
    Operator,
    TensorInfo,
    arithmetic,
    require_shape,
)
from tinsmith_runtime.errors import BackendError, BundleError
from tinsmith_runtime.quiet import mute_stderr

if TYPE_CHECKING:
    from tinsmith_runtime.backends.protocol import Array

# A package that is there but broken is not passed over for the other: the error says so.
if find_spec("ai_edge_litert"):
    from ai_edge_litert import __version__
    from ai_edge_litert.interpreter import Interpreter

    _VERSION, _MAX_LSB = f"LiteRT {__version__}", 0
else:
    from tflite_runtime import __version__
    from tflite_runtime.interpreter import Interpreter

    # TFLite's older kernels, which round a sum in two steps where LiteRT's round it once.
    _VERSION, _MAX_LSB = f"tflite_runtime {__version__}", 1

# Of shapes and the like, which say nothing of what an operator computes in.
_INDICES = ("int32", "int64")


class LiteRtBackend(Backend):
    """A TFLite file on LiteRT; a new batch size resizes the input once."""

    name = "litert"
    code_dtype = np.dtype(np.int8)
    max_lsb = _MAX_LSB

    def __init__(self, model: bytes, threads: int) -> None:
        # tflite_runtime follows whatever offsets a file begins with, out of it if need be.
        if model[4:8] != b"TFL3":
            raise BundleError("expected a TFLite model: its identifier TFL3 is missing")
        try:
            with mute_stderr():  # it announces its delegate, at every start of a program
                self._interpreter = Interpreter(model_content=model, num_threads=threads)
                self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"LiteRT refuses the model: {error}") from error
        if len(inputs) != 1 or len(outputs) != 1:
            raise BundleError(
                f"expected one input and one output, got {len(inputs)} and {len(outputs)}"
            )
        self.version = _VERSION
        self.input, self.output = _tensor_info(inputs[0]), _tensor_info(outputs[0])
        self._input_index: int = inputs[0]["index"]
        self._output_index: int = outputs[0]["index"]
        self._buffer = np.empty(inputs[0]["shape"], np.uint8)

    def run(self, batch: Array) -> Array:
        """See `Backend.run`."""
        interpreter = self._interpreter
        try:
            if batch.shape != self._buffer.shape:
                require_shape(batch, self.input)
                interpreter.resize_tensor_input(self._input_index, batch.shape)
                interpreter.allocate_tensors()
                self._buffer = np.empty(batch.shape, np.uint8)
            if batch.dtype == np.uint8:
                batch = np.bitwise_xor(batch, SIGN_BIT, self._buffer).view(np.int8)
            interpreter.set_tensor(self._input_index, batch)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"LiteRT refuses the batch: {error}") from error
        result: Array = interpreter.get_tensor(self._output_index)
        return result

    def profile(self, batch: Array) -> tuple[Operator, ...]:
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


def run_outputs(model: bytes, batch: Array) -> dict[str, Array]:
    """Computes a batch once and gives every output of the model by its name.

    Args:
        model: a TFLite file with one input and any number of outputs.
        batch: `(N, ...)` of the input's dtype.
    """
    with mute_stderr():
        interpreter = Interpreter(model_content=model, num_threads=1)
        (source,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(source["index"], batch.shape)
        interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], batch)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {output["name"]: interpreter.get_tensor(output["index"]) for output in outputs}


def _tensor_info(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    shape = tuple(int(size) for size in details["shape"][1:])
    return TensorInfo(shape, np.dtype(details["dtype"]), float(scale), int(zero_point))
