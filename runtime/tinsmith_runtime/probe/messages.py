"""What the process is asked and answers, each a line of JSON that says how many bytes follow it."""

import json
import math
import signal
import time
from dataclasses import dataclass

import numpy as np

from tinsmith_runtime.backends import BackendSpec, find_backend, known_backends
from tinsmith_runtime.batch import Array, parts
from tinsmith_runtime.bundle import Bundle, Manifest, Variant, dump_manifest, parse_manifest
from tinsmith_runtime.bundle.golden import read_golden
from tinsmith_runtime.cpu import read_cpu
from tinsmith_runtime.errors import BackendError, BundleError, TinsmithError, printable
from tinsmith_runtime.executor import Engine, to_int8

_MAX_LINE_BYTES, _MAX_MESSAGE = 1 << 16, 2000
_CAUSE = "the engine or the model may be at fault"


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
        status: its exit status; less than 0 is the signal that killed it.
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


def compute(
    spec: BackendSpec, manifest: Manifest, variant: Variant, model: bytes, golden: bytes
) -> Answer:
    """Computes the golden vectors in this process."""
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
    blobs = dump_manifest(bundle.manifest), *model_and_golden(bundle, variant)
    sizes = [len(blob) for blob in blobs]
    head = {"backend": spec.name, "file": variant.file, "sizes": sizes}
    return b"".join((json.dumps(head).encode(), b"\n", *blobs))


def model_and_golden(bundle: Bundle, variant: Variant) -> tuple[bytes, bytes]:
    """The bytes of the model and of the golden vectors."""
    return bundle.files[variant.file], bundle.files[bundle.manifest.golden.file]


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


def answer_bytes(manifest: Manifest) -> int:
    """How many bytes an answer may have."""
    codes = manifest.golden.count * sum(math.prod(o.sample_shape) for o in manifest.outputs)
    return _MAX_LINE_BYTES + codes


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
