"""The golden vectors on one engine, computed in a process of its own.

A model is a stranger's program, and its engine is native code: a wheel for another CPU, or a model
that is made for it, can kill the process, never end, or ask for all memory there is. So
`python -P -m tinsmith_runtime.probe SECONDS BYTES` opens it, within these limits:

- 60 s, and for each golden vector 2 s and 2 s for each MiB of the model, of the clock and of the
  CPU's time;
- 1 GiB of address space, and 32 times the model's size and 256 times that of the golden vectors,
  where the system has such a limit (Linux; macOS does not keep to it, Windows has none);
- no core left behind.

It reads a request and writes an answer, each a line of JSON that says how many bytes follow it. Its
standard output, which native code may print to, points elsewhere meanwhile.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np

from tinsmith_runtime.backends import BackendSpec, find_backend, known_backends
from tinsmith_runtime.batch import Array, parts
from tinsmith_runtime.bundle import Bundle
from tinsmith_runtime.cpu import read_cpu
from tinsmith_runtime.engine import Engine, to_int8
from tinsmith_runtime.errors import BackendError, BundleError, TinsmithError, printable
from tinsmith_runtime.golden import read_golden
from tinsmith_runtime.manifest import Manifest, Variant, dump_manifest, parse_manifest

_MIB = 1 << 20
_SECONDS, _SECONDS_A_VECTOR, _SECONDS_A_VECTOR_AND_MIB = 60, 2, 2
_MEMORY_BYTES, _MEMORY_A_MODEL, _MEMORY_A_VECTOR = 1 << 30, 32, 256
_MAX_LINE_BYTES, _MAX_MESSAGE = 1 << 16, 2000
_CAUSE = "the engine or the model may be at fault"
# What the process says before it has read anything of the model.
_READY = b"ready\n"


@dataclass(frozen=True)
class Limits:
    """What a probe may take: seconds, and bytes of address space."""

    seconds: int
    memory_bytes: int


@dataclass(frozen=True)
class Ending:
    """How the process ended.

    Attributes:
        reply: what it wrote.
        status: its exit status; less than 0 is the number of the signal that killed it.
        late: whether it was killed since its time was over.
    """

    reply: bytes
    status: int
    late: bool


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine made of the golden inputs.

    Attributes:
        version: the engine and its version, for a person.
        max_lsb: how far its outputs may be from the golden ones.
        elapsed_ms: what it took to start it and to compute them all.
        outputs: for each output `int8 (N, ...)`.
    """

    version: str
    max_lsb: int
    elapsed_ms: float
    outputs: tuple[Array, ...]


def probe_variant(spec: BackendSpec, bundle: Bundle, variant: Variant) -> Answer:
    """Has another process compute the golden vectors; this one where Python cannot start another.

    Raises:
        BundleError: the model or the golden vectors are not what the manifest says.
        BackendError: the engine is missing, does not start, or the process came to a bad end.
    """
    manifest, limits = bundle.manifest, limits_of(bundle, variant)
    ended = _ask(make_request(spec, bundle, variant), limits, _answer_bytes(manifest))
    if ended is None:
        return compute(spec, manifest, variant, *_files(bundle, variant))
    return read_answer(spec, manifest, variant, ended, limits)


def _files(bundle: Bundle, variant: Variant) -> tuple[bytes, bytes]:
    """The model and the golden vectors."""
    return bundle.files[variant.file], bundle.files[bundle.manifest.golden.file]


def limits_of(bundle: Bundle, variant: Variant) -> Limits:
    """What the probe of a model may take."""
    model, golden = map(len, _files(bundle, variant))
    a_vector = _SECONDS_A_VECTOR + _SECONDS_A_VECTOR_AND_MIB * model / _MIB
    return Limits(
        seconds=int(_SECONDS + a_vector * bundle.manifest.golden.count),
        memory_bytes=_MEMORY_BYTES + _MEMORY_A_MODEL * model + _MEMORY_A_VECTOR * golden,
    )


def compute(
    spec: BackendSpec, manifest: Manifest, variant: Variant, model: bytes, golden: bytes
) -> Answer:
    """Computes the golden vectors in this process.

    Args:
        spec: of the engine.
        manifest: of the bundle.
        variant: the model file.
        model: its bytes.
        golden: the bytes of the golden vectors.
    """
    inputs = read_golden(golden, manifest).inputs
    start = time.perf_counter()
    engine = Engine(spec, manifest, variant, model, threads=1)
    outputs = parts(to_int8(engine.run(inputs)))
    engine.close()
    elapsed_ms = (time.perf_counter() - start) * 1e3
    for output, array in zip(manifest.outputs, outputs, strict=True):
        expected = (manifest.golden.count, *output.sample_shape)
        if array.dtype != np.int8 or array.shape != expected:
            raise BundleError(
                f"{variant.file}: {output.name}: expected int8 {expected}, "
                f"{engine.version} gives {array.dtype} {array.shape}"
            )
    return Answer(engine.version, engine.max_lsb, elapsed_ms, outputs)


def make_request(spec: BackendSpec, bundle: Bundle, variant: Variant) -> bytes:
    """What the process is told, all of it data."""
    blobs = dump_manifest(bundle.manifest), *_files(bundle, variant)
    sizes = [len(blob) for blob in blobs]
    head = {"backend": spec.name, "file": variant.file, "sizes": sizes}
    return b"".join((json.dumps(head).encode(), b"\n", *blobs))


def answer_request(request: bytes) -> bytes:
    """What the process answers: the integers, or in words why there are none."""
    head, _, data = request.partition(b"\n")
    told = json.loads(head)
    blobs, start = [], 0
    for size in told["sizes"]:
        blobs.append(data[start : start + size])
        start += size
    try:
        manifest = parse_manifest(blobs[0])
        (variant,) = (v for v in manifest.variants if v.file == told["file"])
        found = compute(find_backend(told["backend"]), manifest, variant, *blobs[1:])
    except TinsmithError as error:
        kind = "bundle" if isinstance(error, BundleError) else "engine"
        return _line(error=kind, message=str(error)[:_MAX_MESSAGE])
    except MemoryError:
        message = f"{told['file']}: takes more memory than the self-test may: {_CAUSE}"
        return _line(error="engine", message=message)
    head = _line(version=found.version, max_lsb=found.max_lsb, elapsed_ms=found.elapsed_ms)
    return b"".join((head, *(array.tobytes() for array in found.outputs)))


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _answer_bytes(manifest: Manifest) -> int:
    """How many bytes an answer may have."""
    codes = manifest.golden.count * sum(math.prod(o.sample_shape) for o in manifest.outputs)
    return len(_READY) + _MAX_LINE_BYTES + codes


def _ask(request: bytes, limits: Limits, most_bytes: int) -> Ending | None:
    """Starts the process; says how it ended, or `None` where it cannot start."""
    # Of a program that carries its own Python, `sys.executable` is the program.
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    line = [sys.executable, "-P", "-m", __name__, str(limits.seconds), str(limits.memory_bytes)]
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


def read_answer(
    spec: BackendSpec, manifest: Manifest, variant: Variant, ended: Ending, limits: Limits
) -> Answer:
    """Makes sense of how the process ended.

    Raises:
        BundleError: the process says so.
        BackendError: the process says so, or it was killed or gave no answer.
    """
    head, _, data = ended.reply.partition(b"\n")
    try:
        if ended.status or ended.late:
            raise ValueError("it did not end well, whatever it said")
        said = json.loads(head)
        if "error" in said:
            kind = BundleError if said["error"] == "bundle" else BackendError
            raise kind(str(said["message"]))
        outputs, start = [], 0
        for output in manifest.outputs:
            shape = manifest.golden.count, *output.sample_shape
            array = np.frombuffer(data, np.int8, math.prod(shape), start)
            outputs.append(array.reshape(shape))
            start += array.size
        if start != len(data):
            raise ValueError("more than there should be")
        version, max_lsb = printable(str(said["version"])), int(said["max_lsb"])
        return Answer(version, max_lsb, float(said["elapsed_ms"]), tuple(outputs))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BackendError(_bad_end(spec, manifest, variant, ended, limits)) from error


def _bad_end(
    spec: BackendSpec, manifest: Manifest, variant: Variant, ended: Ending, limits: Limits
) -> str:
    package = spec.package or spec.packages[0]
    known = {int(one): one.name for one in signal.Signals}
    name = known.get(-ended.status, f"signal {-ended.status}") if ended.status < 0 else ""
    if ended.late or name == "SIGXCPU":
        return f"{variant.file}: {package} took more than {limits.seconds} s: {_CAUSE}"
    if not name:
        return f"{variant.file}: {package} gave no answer (exit status {ended.status}): {_CAUSE}"
    cause = ""
    if name == "SIGILL":
        cause = f", for its wheel has instructions that this CPU ({read_cpu()}) does not have"
    elif name == "SIGKILL":
        cause = ", as a system does that is short of memory"
    formats = {other.format for other in manifest.variants}
    others = [f"'{s.extra}'" for s in known_backends() if s != spec and formats & {*s.formats}]
    instead = f", or another engine: pip install {' or '.join(others)}" if others else ""
    return (
        f"{variant.file}: {package} kills the process that runs it ({name}){cause}: {_CAUSE}: "
        f"install an older {package.replace('_', '-')}{instead}"
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
