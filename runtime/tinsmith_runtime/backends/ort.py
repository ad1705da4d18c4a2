"""ONNX files on ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from tinsmith_runtime.backends.protocol import (
    SIGN_BIT,
    Backend,
    Operator,
    TensorInfo,
    arithmetic,
    require_shape,
)
from tinsmith_runtime.errors import BackendError, BundleError

if TYPE_CHECKING:
    from tinsmith_runtime.backends.protocol import Array

# What ONNX Runtime calls a type, and the type that `run` takes or gives for it. tinsmith's int8
# ONNX holds uint8 activations, since only those reach the integer kernels of ONNX Runtime on x86;
# they are the int8 ones plus 128.
_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(uint8)": np.dtype(np.int8),
    "tensor(float)": np.dtype(np.float32),
}
# How its profiler ends the name of a node's own time.
_KERNEL = "_kernel_time"


class OrtBackend(Backend):
    """An ONNX file on ONNX Runtime's CPU provider."""

    name = "onnx"
    code_dtype = np.dtype(np.uint8)
    max_lsb = 0

    def __init__(self, model: bytes, threads: int) -> None:
        session = _open(model, _options(threads))
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BundleError(
                f"expected one input and one output, got {len(inputs)} and {len(outputs)}"
            )
        self._session, self._model, self._threads = session, model, threads
        self.version = f"ONNX Runtime {onnxruntime.__version__}"
        self.input = _tensor_info(inputs[0], "input", session)
        self.output = _tensor_info(outputs[0], "output", session)
        self._names = inputs[0].name, outputs[0].name
        self._dtype = np.dtype(np.uint8) if self.input.dtype == np.int8 else self.input.dtype
        self._bind(1)

    def _bind(self, batch_size: int) -> None:
        """Gives the session memory of ours to read and write, in less time than `run` takes."""
        self._binding = self._session.io_binding()
        self._source = np.empty((batch_size, *self.input.shape), self._dtype)
        self._target = np.empty((batch_size, *self.output.shape), self._dtype)
        for bind, name, array in (
            (self._binding.bind_input, self._names[0], self._source),
            (self._binding.bind_output, self._names[1], self._target),
        ):
            bind(name, "cpu", 0, self._dtype, array.shape, array.ctypes.data)

    def run(self, batch: Array) -> Array:
        """See `Backend.run`."""
        if batch.shape != self._source.shape:
            require_shape(batch, self.input)
            self._bind(len(batch))
        signed = batch.dtype == np.int8
        try:
            if signed:
                np.bitwise_xor(batch.view(np.uint8), SIGN_BIT, self._source)
            else:
                np.copyto(self._source, batch)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # see `_open`
            raise BackendError(f"ONNX Runtime refuses the batch: {error}") from error
        return (self._target ^ SIGN_BIT).view(np.int8) if signed else self._target.copy()

    def profile(self, batch: Array) -> tuple[Operator, ...]:
        """See `Backend.profile`; the profiler of ONNX Runtime counts whole microseconds."""
        import json
        import tempfile
        from pathlib import Path

        options = _options(self._threads)
        options.enable_profiling = True
        if batch.dtype == np.int8:
            batch = batch.view(np.uint8) ^ SIGN_BIT
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = _open(self._model, options)
            for one in batch:
                session.run(None, {self._names[0]: one[np.newaxis]})
            events = json.loads(Path(session.end_profiling()).read_bytes())
        nodes: dict[tuple[str, str, str], list[float]] = {}
        for event in events:
            node = event.get("args", {})
            if event["cat"] == "Node" and event["name"].endswith(_KERNEL):
                # A quantized operator takes float scales besides its data.
                shapes = (*node["input_type_shape"][:1], *node["output_type_shape"][:1])
                data = arithmetic(dtype for shape in shapes for dtype in shape)
                key = event["name"].removesuffix(_KERNEL), node["op_name"], data
                nodes.setdefault(key, []).append(event["dur"])
        return tuple(Operator(*key, _typical(times)) for key, times in nodes.items())


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _open(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # Its exceptions share no base class but Exception.
    except Exception as error:
        raise BundleError(f"ONNX Runtime refuses the model: {error}") from error


def _typical(times: list[float]) -> float:
    """The mean without the slowest tenth: what a busy machine does to a call is none of its."""
    return float(np.mean(np.sort(times)[: max(1, len(times) * 9 // 10)]))


def run_outputs(model: bytes, batch: Array) -> dict[str, Array]:
    """Computes a batch once and gives every output of the model by its name.

    Args:
        model: an ONNX file with one input and any number of outputs.
        batch: `(N, ...)` of the input's dtype; uint8 codes where `OrtBackend` takes int8 ones.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {session.get_inputs()[0].name: batch})
    return dict(zip(names, found, strict=True))


def _tensor_info(
    tensor: onnxruntime.NodeArg, side: str, session: onnxruntime.InferenceSession
) -> TensorInfo:
    """ONNX Runtime does not report scales; the exporter repeats them in the file's metadata."""
    if tensor.type not in _DTYPES:
        raise BundleError(f"{side}: expected {', '.join(_DTYPES)}; got {tensor.type}")
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        scale = float(metadata.get(f"{side}_scale", 0))
        zero_point = int(metadata.get(f"{side}_zero_point", 0))
        shape = tuple(int(size) for size in tensor.shape[1:])
    except (TypeError, ValueError) as error:
        raise BundleError(f"{side}: expected a fixed shape and scale: {error}") from error
    return TensorInfo(shape, _DTYPES[tensor.type], scale, zero_point)


def optimized_model(model: bytes) -> bytes:
    """Gives the graph that ONNX Runtime makes of a model on this machine, as an ONNX file.

    What runs is in it: `QLinearConv` is an integer kernel, `FusedConv` a float one.
    """
    import tempfile  # here, since it takes longer to import than all of this room
    from pathlib import Path

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimized.onnx")
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()
