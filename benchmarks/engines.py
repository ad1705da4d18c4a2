"""The engines that native.py compares: a bundle's models, opened to be called and nothing else.

Each gets its input once, in memory that it keeps, so that a call is the engine's own time: no copy
of an input, no dictionary, no check.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.backends.ort import session_options

Codes = NDArray[np.int8]
_SIGN_BIT = np.uint8(0x80)


@dataclass(frozen=True)
class Engine:
    """A model on its engine.

    Attributes:
        name: for the table.
        call: computes once, on the input that was set last.
        answer: sets an input, `int8 (1, ...)`, and gives the output's codes; none of a float model.
    """

    name: str
    call: Callable[[], object]
    answer: Callable[[Codes], Codes] | None = None


def open_engines(
    files: Mapping[str, bytes], codes: Codes, threads: int, ours: str
) -> Iterator[Engine]:
    """All engines that are installed, ours last.

    Args:
        files: of the bundle.
        codes: an input of the int8 models, `int8 (1, ...)`.
        threads: how many each may take.
        ours: what to call native.
    """
    rng = np.random.default_rng(0)
    floats = rng.random(codes.shape, np.float32)
    yield _litert("LiteRT float", files["model.float.tflite"], floats, threads)
    yield _litert("LiteRT int8", files["model.int8.tflite"], codes, threads)
    yield _onnx("ORT float", files["model.float.onnx"], floats, threads, False)
    yield _onnx("ORT int8", files["model.int8.onnx"], codes, threads, False)
    yield _onnx("ORT int8 exact", files["model.int8.onnx"], codes, threads, True)
    if find_spec("openvino"):
        yield _openvino("OpenVINO float", files["model.float.onnx"], floats, threads)
        yield _openvino("OpenVINO int8", files["model.int8.onnx"], codes, threads)
    yield native(files["model.int8.plan"], codes, threads, ours)


def _unsigned(codes: Codes) -> NDArray[np.uint8]:
    return codes.view(np.uint8) ^ _SIGN_BIT


def _signed(codes: NDArray[np.uint8]) -> Codes:
    return (codes ^ _SIGN_BIT).view(np.int8)


def _litert(name: str, model: bytes, first: NDArray[Any], threads: int) -> Engine:
    from tinsmith_runtime.backends.litert import open_interpreter

    interpreter = open_interpreter(model, threads)
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def answer(codes: Codes) -> Codes:
        interpreter.set_tensor(source, codes)
        interpreter.invoke()
        found: Codes = interpreter.get_tensor(target)
        return found

    interpreter.set_tensor(source, first)
    return Engine(name, interpreter.invoke, answer if first.dtype == np.int8 else None)


def _onnx(name: str, model: bytes, first: NDArray[Any], threads: int, exact: bool) -> Engine:
    """ONNX Runtime, with memory bound to it; `exact`: its kernels that cannot overflow."""
    import onnxruntime

    options = session_options(b"", threads)  # of no file of ours: without the exact kernels
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    binding = session.io_binding()
    memory = _unsigned(first) if first.dtype == np.int8 else first
    binding.bind_cpu_input(source, memory)
    binding.bind_output(target)

    def answer(codes: Codes) -> Codes:
        return _signed(session.run([target], {source: _unsigned(codes)})[0])

    return Engine(
        name,
        lambda: session.run_with_iobinding(binding),
        answer if first.dtype == np.int8 else None,
    )


def _openvino(name: str, model: bytes, first: NDArray[Any], threads: int) -> Engine:
    """OpenVINO in its mode of low latency, in float32 as the others are."""
    import openvino

    core = openvino.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    read = core.read_model(model)
    read.reshape(first.shape)
    request = core.compile_model(read, "CPU", options).create_infer_request()
    request.set_input_tensor(
        openvino.Tensor(_unsigned(first) if first.dtype == np.int8 else first.copy())
    )

    def answer(codes: Codes) -> Codes:
        request.set_input_tensor(openvino.Tensor(_unsigned(codes)))
        request.infer()
        return _signed(request.get_output_tensor().data)

    return Engine(name, request.infer, answer if first.dtype == np.int8 else None)


def native(plan: bytes, first: Codes, threads: int, name: str) -> Engine:
    """libtinsmith, by the functions of its C header."""
    from tinsmith_native.backend import NativeBackend
    from tinsmith_native.library import LIBRARY

    backend = NativeBackend(plan, threads)
    backend.run(first)
    run, handle = LIBRARY.tin_run, backend._handle

    def answer(codes: Codes) -> Codes:
        found = backend.run(codes)
        assert isinstance(found, np.ndarray)
        return found

    # What the library does for a caller that has written the input to where it is read.
    return Engine(name, lambda: run(handle, None, None, 1, 0, None), answer)
