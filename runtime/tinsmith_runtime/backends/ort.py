"""ONNX files on ONNX Runtime."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

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
    unsigned,
)
from tinsmith_runtime.backends.registry import ONNX
from tinsmith_runtime.batch import count, each, numbered, parts, rows
from tinsmith_runtime.errors import BackendError, BundleError, printable
from tinsmith_runtime.record import frozen_dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tinsmith_runtime.batch import Array, Arrays

# What ONNX Runtime calls a type, and the type that `run` takes or gives for it. tinsmith's int8
# ONNX holds uint8 activations, since only those reach the integer kernels of ONNX Runtime on x86;
# they are the int8 ones plus 128.
_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(uint8)": np.dtype(np.int8),
    "tensor(float)": np.dtype(np.float32),
}
# What a session may read: the bytes that it is given, as ONNX. Weights that a model has in other
# files, which its hash does not cover, are looked for in a folder that cannot be.
_CONFIG = {
    "session.model_external_initializers_file_folder_path": f"{os.devnull}/nowhere",
    "session.load_model_format": "ONNX",
}
# Stores int8 weights as uint8 ones, whose kernels are slower and cannot overflow.
_EXACT = "session.x64quantprecision"
# How a file of tinsmith's begins; another is run as ONNX Runtime runs it by itself.
_PRODUCER = b"\x12\x08tinsmith"
# A `MatMulInteger` of uint8 `a` and int8 `b`, as ONNX.
_PRODUCT = (
    b'\x08\x05:>\n\x18\n\x01a\n\x01b\x12\x01c"\rMatMulInteger\x12\x01g'
    b"Z\t\n\x01a\x12\x04\n\x02\x08\x02Z\t\n\x01b\x12\x04\n\x02\x08\x03b\t\n\x01c\x12\x04\n\x02\x08\x06B\x02\x10\n"
)
# How its profiler ends the name of a node's own time.
_KERNEL = "_kernel_time"


@frozen_dataclass(frozen=True)
class _Bound:
    """Memory of ours that the session reads and writes, for batches of one size.

    It takes less time than `run` does. `source` and `target` are the first of each.
    """

    binding: Any
    sources: tuple[Array, ...]
    targets: tuple[Array, ...]
    source: Array
    target: Array


_UNBOUND = _Bound(None, (), (), NO_BATCH, NO_BATCH)


class OrtBackend(Backend):
    """An ONNX file on ONNX Runtime's CPU provider."""

    code_dtype = np.dtype(np.uint8)
    max_lsb = 0

    def __init__(self, model: bytes, threads: int) -> None:
        session = open_session(model, session_options(model, threads))
        self._session, self._model, self._threads = session, model, threads
        self.version = printable(f"ONNX Runtime {onnxruntime.__version__}")
        try:
            inputs, outputs = session.get_inputs(), session.get_outputs()
            require_tensors(len(inputs), len(outputs))
            self.inputs = _tensor_infos(inputs, "input", session)
            self.outputs = _tensor_infos(outputs, "output", session)
        except UnicodeDecodeError as error:
            raise BundleError(f"expected names and metadata in UTF-8: {error}") from error
        self._bound = _UNBOUND
        self._several = len(self.outputs) > 1

    def run(self, batch: Arrays) -> Arrays:
        """See `Backend.run`."""
        bound = self._bound
        try:
            if isinstance(batch, tuple):
                bound, as_int8 = self._feed(batch)
            # One array takes no loop: what a small model computes takes microseconds.
            elif batch.shape != bound.source.shape:
                bound, as_int8 = self._feed((batch,))
            elif batch.dtype == np.int8:
                as_int8 = True
                np.bitwise_xor(batch.view(np.uint8), SIGN_BIT, bound.source)
            else:
                as_int8 = False
                np.copyto(bound.source, batch)
            self._session.run_with_iobinding(bound.binding)
        except BackendError:
            raise
        except Exception as error:  # see `open_session`
            if not raised_by(error, *ONNX.packages):
                raise
            raise BackendError(f"ONNX Runtime refuses the batch: {error}") from error
        if self._several:
            return tuple(_taken(target, as_int8) for target in bound.targets)
        return _taken(bound.target, as_int8)

    def _feed(self, arrays: tuple[Array, ...]) -> tuple[_Bound, bool]:
        """Copies the inputs to where the session reads; says whether any of them is int8."""
        require_shapes(arrays, self.inputs)
        bound = self._bound
        if arrays[0].shape != bound.source.shape:
            bound = _bind(self._session, self.inputs, self.outputs, len(arrays[0]))
            # All of it at once: whatever interrupts this leaves the whole of the one before.
            self._bound = bound
        for array, source in zip(arrays, bound.sources, strict=True):
            np.copyto(source, unsigned(array))
        return bound, any(array.dtype == np.int8 for array in arrays)

    def profile(self, batch: Arrays) -> tuple[Operator, ...]:
        """See `Backend.profile`; the profiler of ONNX Runtime counts whole microseconds."""
        import json
        import tempfile
        from pathlib import Path

        options = session_options(self._model, self._threads)
        options.enable_profiling = True
        names = [info.name for info in self.inputs]
        batch = each(unsigned, batch)
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = open_session(self._model, options)
            for number in range(count(batch)):
                one = parts(rows(batch, slice(number, number + 1)))
                session.run(None, dict(zip(names, one, strict=True)))
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


def _taken(target: Array, as_int8: bool) -> Array:
    """A copy of what the session wrote, which it will write over."""
    return signed(target) if as_int8 else target.copy()


def _bind(
    session: onnxruntime.InferenceSession,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    size: int,
) -> _Bound:
    binding = session.io_binding()
    sources = _reserve(binding.bind_input, inputs, size)
    targets = _reserve(binding.bind_output, outputs, size)
    return _Bound(binding, sources, targets, sources[0], targets[0])


def _reserve(
    bind: Callable[..., None], tensors: Sequence[TensorInfo], size: int
) -> tuple[Array, ...]:
    arrays = []
    for tensor in tensors:
        dtype = np.dtype(np.uint8) if tensor.dtype == np.int8 else tensor.dtype
        array: Array = np.empty((size, *tensor.shape), dtype)
        bind(tensor.name, "cpu", 0, dtype, array.shape, array.ctypes.data)
        arrays.append(array)
    return tuple(arrays)


def session_options(model: bytes, threads: int) -> onnxruntime.SessionOptions:
    """How a model file is opened: one of tinsmith's so that no kernel overflows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for key, value in _CONFIG.items():
        options.add_session_config_entry(key, value)
    if _PRODUCER in model[:16] and saturates():
        options.add_session_config_entry(_EXACT, "1")
    return options


def open_session(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Opens a model file, or raises `BundleError`."""
    try:
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print, and try the same once more
            read_config_from_model=0,
        )
    # Its exceptions share no base class but Exception.
    except Exception as error:
        if not raised_by(error, *ONNX.packages):
            raise
        raise BundleError(f"ONNX Runtime refuses the model: {error}") from error


@cache
def saturates() -> bool:
    """Whether kernels here add two uint8 x int8 products in 16 bits: x86 without VNNI."""
    try:
        session = open_session(_PRODUCT, session_options(_PRODUCT, 1))
    except BundleError:  # a build without this operator
        return True
    most = {"a": np.full((2, 2), 255, np.uint8), "b": np.full((2, 1), 127, np.int8)}
    return bool(session.run(None, most)[0][0, 0] != 2 * 255 * 127)


def _typical(times: list[float]) -> float:
    """The mean without the slowest tenth: what a busy machine does to a call is none of its."""
    return float(np.mean(np.sort(times)[: max(1, len(times) * 9 // 10)]))


def _tensor_infos(
    tensors: Sequence[onnxruntime.NodeArg], side: str, session: onnxruntime.InferenceSession
) -> tuple[TensorInfo, ...]:
    """ONNX Runtime does not report scales; the exporter repeats them in the file's metadata.

    Their keys are `input_scale`, `output_zero_point`; of several inputs `input_0_scale` and so on.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    sides = numbered(side, len(tensors))
    return tuple(_tensor_info(*pair, metadata) for pair in zip(tensors, sides, strict=True))


def _tensor_info(tensor: onnxruntime.NodeArg, side: str, metadata: Mapping[str, str]) -> TensorInfo:
    if tensor.type not in _DTYPES:
        raise BundleError(f"{side}: expected {', '.join(_DTYPES)}; got {tensor.type}")
    try:
        scale = float(metadata.get(f"{side}_scale", 0))
        zero_point = int(metadata.get(f"{side}_zero_point", 0))
        shape = tuple(int(size) for size in tensor.shape[1:])
    except (TypeError, ValueError) as error:
        raise BundleError(f"{side}: expected a fixed shape and scale: {error}") from error
    return TensorInfo(tensor.name, shape, _DTYPES[tensor.type], scale, zero_point)
