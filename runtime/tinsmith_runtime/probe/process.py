"""The process: it is started, confined, told what to do, and waited for.

`python -P -m tinsmith_runtime.probe.process SECONDS BYTES` opens a model, within the limits that
SECURITY.md explains. Its standard output, which native code may print to, points elsewhere.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time

from tinsmith_runtime.backends import BackendSpec
from tinsmith_runtime.bundle import Bundle, Variant
from tinsmith_runtime.probe.messages import (
    Answer,
    Ending,
    Limits,
    answer_bytes,
    answer_request,
    compute,
    make_request,
    model_and_golden,
    read_answer,
)

_MIB = 1 << 20
_SECONDS, _SECONDS_A_VECTOR, _SECONDS_A_VECTOR_AND_MIB = 60, 2, 2
_MEMORY_BYTES, _MEMORY_A_MODEL, _MEMORY_A_VECTOR = 1 << 30, 32, 256
# What the process says before it has read anything of the model.
_READY = b"ready\n"


def probe_variant(spec: BackendSpec, bundle: Bundle, variant: Variant) -> Answer:
    """Has another process compute the golden vectors; this one where Python cannot start another.

    Raises:
        BundleError: the model or the golden vectors are not what the manifest says.
        BackendError: the engine is missing or does not start, or the process does not end well.
    """
    manifest, limits = bundle.manifest, limits_of(bundle, variant)
    ended = _ask(make_request(spec, bundle, variant), limits, len(_READY) + answer_bytes(manifest))
    if ended is None:
        return compute(spec, manifest, variant, *model_and_golden(bundle, variant))
    return read_answer(spec, manifest, variant, ended, limits)


def _ask(request: bytes, limits: Limits, most_bytes: int) -> Ending | None:
    """Starts the process; says how it ended, or `None` where it cannot start."""
    # Of a program that carries its own Python, `sys.executable` is the program.
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    line = [
        sys.executable,
        "-P",
        "-m",
        __name__,
        str(limits.seconds),
        str(limits.memory_bytes),
    ]
    # Threads that numpy would start for itself take of the memory.
    few = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **few},
        )
    except OSError:
        return None
    deadline = time.monotonic() + limits.seconds
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(limits.seconds, process.kill)
        late.daemon = True
        late.start()
        try:
            # It reads all before it answers, so neither waits for the other.
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(request)
            reply = process.stdout.read(most_bytes + 1)
            if len(reply) > most_bytes:
                process.kill()
            status = process.wait()
            is_late = time.monotonic() >= deadline
        finally:
            late.cancel()
            process.kill()
    if not reply.startswith(_READY):  # not a Python, or one that does not find this package
        return None
    return Ending(reply.removeprefix(_READY), status, is_late)


def limits_of(bundle: Bundle, variant: Variant) -> Limits:
    """What the probe of a model may take."""
    model, golden = len(bundle.files[variant.file]), len(bundle.files[bundle.manifest.golden.file])
    a_vector = _SECONDS_A_VECTOR + _SECONDS_A_VECTOR_AND_MIB * model / _MIB
    return Limits(
        seconds=int(_SECONDS + a_vector * bundle.manifest.golden.count),
        memory_bytes=_MEMORY_BYTES + _MEMORY_A_MODEL * model + _MEMORY_A_VECTOR * golden,
    )


def confine(limits: Limits) -> None:
    """Sets the limits of this process, as far as the system has them."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_CPU: limits.seconds,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):
            # The hard limit of the CPU's time kills where the soft one names itself.
            hard = most + 5 if kind == resource.RLIMIT_CPU else most
            resource.setrlimit(kind, (most, hard))


def main(seconds: str, memory_bytes: str) -> None:
    """Answers the request on standard input, and ends without a destructor of the engine's."""
    channel = os.dup(1)
    os.dup2(2, 1)
    confine(Limits(int(seconds), int(memory_bytes)))
    with os.fdopen(channel, "wb") as stream:
        stream.write(_READY)
        stream.flush()
        stream.write(answer_request(sys.stdin.buffer.read()))
        stream.flush()
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
