"""What it takes to start: the runtime against the shortest program on the bare engine.

    python benchmarks/startup.py digits.tin [--runs 100]

Each run is a fresh process that predicts once, the two programs in turn, after one run of each
that is not counted (it writes Python's bytecode and warms the disk's cache). From the process's
start to its first prediction is told by the system's monotonic clock, read by the parent before and
by the child after. Ratios are of each pair of runs, and their median is given: what slows the
machine down for a while slows both of a pair. On a noisy machine it takes 100 of them to say a
ratio within some percent. Linux alone: the peak memory is `VmHWM`. Engines that the bundle holds no
int8 model for are named below the table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tinsmith_runtime import Bundle, installed_backends, read_bundle
from tinsmith_runtime.backends import find_backend

LITERT = """
import numpy as np
from ai_edge_litert.interpreter import Interpreter
imported()
interpreter = Interpreter({model!r}, num_threads=1)
interpreter.allocate_tensors()
source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
interpreter.set_tensor(source["index"], np.zeros({shape}, np.int8))
interpreter.invoke()
interpreter.get_tensor(target["index"])
"""
_ONNX = """
import numpy as np
import onnxruntime
imported()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.x64quantprecision", "{exact}")
session = onnxruntime.InferenceSession({model!r}, options, providers=["CPUExecutionProvider"])
session.run(None, {{session.get_inputs()[0].name: np.zeros({shape}, np.uint8)}})
"""
_NATIVE = """
import ctypes
import numpy as np
library = ctypes.CDLL({library!r})
imported()
with open({model!r}, "rb") as file:
    plan = file.read()
model = ctypes.c_void_p()
assert not library.tin_load(plan, ctypes.c_size_t(len(plan)), 1, ctypes.byref(model))
source, target = np.zeros({shape}, np.int8), np.empty({answer}, np.int8)
ends = [(ctypes.c_void_p * 1)(array.ctypes.data) for array in (source, target)]
assert not library.tin_run(model, *ends, 1, 0, None)
"""
_PROGRAMS = {"litert": ("tflite", LITERT), "onnx": ("onnx", _ONNX), "native": ("plan", _NATIVE)}
# The engine's module is named, so that both import the engine before they say so.
RUNTIME = """
import numpy as np
from tinsmith_runtime import load
import {module}
imported()
load({bundle!r}, {backend!r}).predict(np.zeros({shape}, np.{dtype}))
"""
_BEFORE = """
import time
began = time.monotonic_ns()
times = []
def imported():
    times.append(time.monotonic_ns() - began)
"""
_AFTER = """
predicted = time.monotonic_ns()
import json
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM"))
print(json.dumps([predicted, times[0], int(peak.split()[1])]))
"""
_COLUMNS = ("first prediction ms", "import ms", "peak RSS MB")


def run(program: str, python: str = sys.executable) -> tuple[float, float, float]:
    """Runs a program in a fresh process.

    Returns:
        Milliseconds from its start to its first prediction, those of its imports, and its peak
        resident memory in MB (10^6 bytes).
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    words = [python, "-c", _BEFORE + program + _AFTER]
    start = time.monotonic_ns()
    done = subprocess.run(words, capture_output=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    predicted, imported, peak_kib = json.loads(done.stdout.splitlines()[-1])
    return (predicted - start) / 1e6, imported / 1e6, peak_kib * 1024 / 1e6


def _facts(backend: str) -> dict[str, Any]:
    """What the bare program has to know of an engine, which is imported only if it is installed."""
    if backend == "onnx":
        from tinsmith_runtime.backends.ort import saturates

        # Where the runtime takes ONNX Runtime's kernels that cannot overflow, so does it.
        return {"exact": int(saturates())}
    if backend == "native":
        from tinsmith_native.library import LIBRARY

        return {"library": LIBRARY._name}
    return {}


def run_pairs(
    path: str, bundle: Bundle, backend: str, runs: int
) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Runs the bare program and the runtime in turn; gives what `run` gives of each pair."""
    form, template = _PROGRAMS[backend]
    manifest = bundle.manifest
    shape = (1, *manifest.input.sample_shape)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, f"model.{form}")
        model.write_bytes(bundle.files[f"model.int8.{form}"])
        answer = (1, *manifest.output.sample_shape)
        bare = template.format(model=str(model), shape=shape, answer=answer, **_facts(backend))
        runtime = RUNTIME.format(
            module=find_backend(backend).opens.partition(":")[0],
            bundle=str(Path(path).resolve()),
            backend=backend,
            shape=shape,
            dtype=manifest.input.dtype,
        )
        return [(run(bare), run(runtime)) for _ in range(runs + 1)][1:]


def main() -> None:
    """Prints three rows an engine: the bare program, the runtime, their ratio."""
    parser = argparse.ArgumentParser(description="start-up of the runtime and of the bare engine")
    parser.add_argument("bundle", metavar="BUNDLE", help="a .tin file or folder")
    parser.add_argument("--runs", type=int, default=100, help="runs of each program (default 100)")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    if len(bundle.manifest.inputs) > 1:
        parser.error(f"{arguments.bundle}: expected one input")
    print(f"medians of {arguments.runs} fresh processes of each, in turn, one thread")
    print(f"| engine | program | {' | '.join(_COLUMNS)} |")
    print("| :-- | :-- | --: | --: | --: |")
    installed = installed_backends()
    files = {name: f"model.int8.{form}" for name, (form, _) in _PROGRAMS.items()}
    measured = [name for name in installed if files.get(name) in bundle.files]
    for backend in measured:
        pairs = run_pairs(arguments.bundle, bundle, backend, arguments.runs)
        for which, name in enumerate(("bare", "runtime")):
            numbers = [
                median(column) for column in zip(*(pair[which] for pair in pairs), strict=True)
            ]
            print(f"| {backend} | {name} | {' | '.join(f'{number:.1f}' for number in numbers)} |")
        ratios = [
            median(ours[column] / theirs[column] for theirs, ours in pairs)
            for column in range(len(_COLUMNS))
        ]
        print(f"| {backend} | ratio | {' | '.join(f'{ratio:.3f}' for ratio in ratios)} |")
    for backend in installed:
        if backend not in measured:
            print(f"{backend} is skipped: the bundle holds no {files.get(backend, 'model')} for it")


if __name__ == "__main__":
    main()
