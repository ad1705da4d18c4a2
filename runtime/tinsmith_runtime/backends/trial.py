"""A trial of an engine in a process of its own: a wheel for another CPU kills the one it runs in.

`python -m tinsmith_runtime.backends.trial litert < model.int8.tflite` is that process.
"""

import signal
import subprocess
import sys

import numpy as np

from tinsmith_runtime.backends.registry import create_backend, engine_package
from tinsmith_runtime.batch import joined
from tinsmith_runtime.cpu import read_cpu
from tinsmith_runtime.errors import BackendError


def require_survival(name: str, model: bytes) -> None:
    """Has another process start an engine and compute one sample, unless this one has it already.

    Trouble that Python can report is left to whoever starts the engine next.

    Args:
        name: `litert` or `onnx`.
        model: the bytes of a model file whose hash has been checked.

    Raises:
        BackendError: the process was killed; the message says by what, and what to install.
    """
    package = engine_package(name)
    if package is None or package in sys.modules or not sys.executable:
        return
    line = [sys.executable, "-m", __name__, name]
    try:
        done = subprocess.run(line, input=model, capture_output=True, check=False)
    except OSError:  # a system on which Python cannot start itself
        return
    if done.returncode < 0:
        number = -done.returncode
        cause = ""
        if number == signal.SIGILL:
            cause = f", for its wheel has instructions that this CPU ({read_cpu()}) does not have"
        other = {"litert": "onnx", "onnx": "litert"}[name]
        raise BackendError(
            f"{package} kills the process that runs it ({signal.Signals(number).name}){cause}: "
            f"install an older {package.replace('_', '-')}, or the other engine: "
            f"pip install 'tinsmith-runtime[{other}]'"
        )


def main(name: str, model: bytes) -> None:
    """Starts an engine and computes a sample of zeros."""
    backend = create_backend(name, model, 1)
    backend.run(joined([np.zeros((1, *info.shape), info.dtype) for info in backend.inputs]))


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.buffer.read())
