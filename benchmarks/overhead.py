"""What `Model.predict` costs over the bare engine: one call of each in turn, in one run.

    python benchmarks/overhead.py digits.tin [--calls 5000] [--batch 1]

The bare engine gets its integers ready made, as raw pixels are for ONNX Runtime, and gives integers
back; `predict` checks its input, encodes it, takes its turn and gives probabilities. Features have
to be quantized by the bare program too: it does so in one line of numpy. libtinsmith is called
through `ctypes`, with memory and pointers that are made once. What is allowed is 10 µs, 5 µs over
libtinsmith, or 5 % of the bare call where that is more. Engines that the bundle holds no int8 model
for are named below the table.
"""

import argparse
import gc
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any

import numpy as np

from tinsmith_runtime import Manifest, Model, UsageError, installed_backends, load, read_bundle

_ALLOWED_US, _ALLOWED_NATIVE_US, _ALLOWED_RATIO = 10, 5, 0.05
_WARM_UP = 200


def bare_litert(model: bytes) -> Callable[[Any], Any]:
    """A function from `int8` codes to `int8` codes, on LiteRT alone."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]["index"]
    allocated = None

    def run(codes: Any) -> Any:
        nonlocal allocated
        if allocated != codes.shape:
            interpreter.resize_tensor_input(source["index"], codes.shape)
            interpreter.allocate_tensors()
            allocated = codes.shape
        interpreter.set_tensor(source["index"], codes)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def bare_onnx(model: bytes) -> Callable[[Any], Any]:
    """A function from `uint8` codes to `uint8` codes, on ONNX Runtime alone."""
    import onnxruntime

    from tinsmith_runtime.backends.ort import session_options

    options = session_options(model, 1)  # the kernels that the runtime takes
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    source, targets = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    return lambda codes: session.run(targets, {source: codes})[0]


def bare_native(model: bytes, codes: Any) -> Callable[[Any], Any]:
    """A function from codes, `int8` or `uint8` as these are, to `int8` codes, on libtinsmith alone.

    It computes batches of the size of `codes`, and gives the same array at each call. `model` is
    read on in, and must be kept.
    """
    import ctypes

    from tinsmith_native.library import LIBRARY, Tensor

    handle, output = ctypes.c_void_p(), Tensor()
    if LIBRARY.tin_load(model, len(model), 1, ctypes.byref(handle)):
        raise SystemExit("libtinsmith refuses the plan")
    LIBRARY.tin_output(handle, 0, ctypes.byref(output))
    source = np.empty_like(codes)
    target = np.empty((len(codes), *output.shape[: output.rank]), np.int8)
    inputs = (ctypes.c_void_p * 1)(source.ctypes.data)
    outputs = (ctypes.c_void_p * 1)(target.ctypes.data)
    count, unsigned = len(codes), int(codes.dtype == np.uint8)

    def run(given: Any) -> Any:
        np.copyto(source, given)
        LIBRARY.tin_run(handle, inputs, outputs, count, unsigned, None)
        return target

    return run


def bare_call(model: Model, data: bytes, batch: Any) -> Callable[[], Any]:
    """The shortest that the bare engine needs to do for the same batch."""
    signed = model.backend != "onnx"
    entry = model.input
    scale, low, kind = (
        np.float32(entry.scale),
        -128 if signed else 0,
        np.int8 if signed else np.uint8,
    )
    zero_point = np.float32(entry.zero_point + 128 + low)

    def quantized() -> Any:
        return np.clip(np.rint(batch / scale) + zero_point, low, low + 255).astype(kind)

    is_image = entry.kind == "image"
    if model.backend == "native":
        run = bare_native(data, batch if is_image else quantized())
        return lambda: run(batch if is_image else quantized())
    run = (bare_litert if signed else bare_onnx)(data)
    if is_image:
        codes = (batch ^ 128).view(np.int8) if signed else batch
        return lambda: run(codes)
    return lambda: run(quantized())


def make_batch(manifest: Manifest, size: int) -> Any:
    """Inputs of the model's kind, drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    shape = (size, *manifest.input.sample_shape)
    if manifest.input.kind == "image":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32)


def time_in_turn(one: Callable[[], Any], other: Callable[[], Any], calls: int) -> Any:
    """Times two functions in turn, each as often first as the other.

    Returns:
        `int64 (calls, 2)`: the nanoseconds of each call.
    """
    times = np.empty((_WARM_UP + calls, 2), np.int64)
    gc.disable()
    for call in range(len(times)):
        for which in (0, 1) if call % 2 else (1, 0):
            function = other if which else one
            start = perf_counter_ns()
            function()
            times[call, which] = perf_counter_ns() - start
    gc.enable()
    return times[_WARM_UP:]


def main() -> None:
    """Prints a row an engine."""
    parser = argparse.ArgumentParser(description="Model.predict against the bare engine")
    parser.add_argument("bundle", metavar="BUNDLE", help="a .tin file or folder")
    parser.add_argument("--calls", type=int, default=5000, help="calls of each (default 5000)")
    parser.add_argument("--batch", type=int, default=1, help="samples a call (default 1)")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    if len(bundle.manifest.inputs) > 1 or len(bundle.manifest.outputs) > 1:
        parser.error(f"{arguments.bundle}: expected one input and one output")
    batch = make_batch(bundle.manifest, arguments.batch)
    print(f"p50 of {arguments.calls} calls in turn, batch {arguments.batch}, one thread")
    print("| engine | bare µs | predict µs | overhead µs | ratio | allowed µs | holds |")
    print("| :-- | --: | --: | --: | --: | --: | :-- |")
    skipped = []
    for name in installed_backends():
        try:
            model = load(arguments.bundle, name)
        except UsageError as error:
            skipped.append(f"{name} is skipped: {error}")
            continue
        with model:
            bare = bare_call(model, bundle.files[model.variant.file], batch)
            times = time_in_turn(bare, partial(model.predict, batch), arguments.calls)
            bare_us, predict_us = np.median(times, axis=0) / 1e3
            # Of the pairs: what slows the machine down for a while slows both of a pair.
            overhead_us = np.median(times[:, 1] - times[:, 0]) / 1e3
            allowed_us = _ALLOWED_NATIVE_US if name == "native" else _ALLOWED_US
            allowed_us = max(allowed_us, _ALLOWED_RATIO * bare_us)
            print(
                f"| {model.engine_version} | {bare_us:.1f} | {predict_us:.1f} | {overhead_us:.1f} "
                f"| {predict_us / bare_us:.2f} | {allowed_us:.1f} "
                f"| {'yes' if overhead_us <= allowed_us else 'no'} |"
            )
    for line in skipped:
        print(line)


if __name__ == "__main__":
    main()
