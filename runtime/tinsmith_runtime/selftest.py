"""The self-test: golden vectors, bit for bit, on every engine of this machine."""

from typing import TYPE_CHECKING

from tinsmith_runtime.backends import backends_of, find_backend, installed_backends
from tinsmith_runtime.batch import Array, parts
from tinsmith_runtime.bundle import Bundle, read_bundle
from tinsmith_runtime.errors import BackendError
from tinsmith_runtime.lazy import np
from tinsmith_runtime.record import frozen_dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from tinsmith_runtime.cpu import Cpu


@frozen_dataclass(frozen=True)
class SelfTest:
    """One engine's result: `mismatch` is empty, or says which vector, which output, how far.

    Engines give the golden outputs to the bit, but for `tflite_runtime`, which may be 1 LSB off:
    `max_difference_lsb` says how far the furthest output is.
    """

    backend: str
    engine_version: str
    cpu: "Cpu"
    vectors: int
    equal_vectors: int
    max_difference_lsb: int
    mismatch: str
    elapsed_ms: float


def selftest(path: "str | Path") -> list[SelfTest]:
    """Runs every golden vector on every installed engine.

    Args:
        path: a bundle.

    Returns:
        A result for each engine for which the bundle holds an int8 model.

    Raises:
        BundleError: the bundle, its golden vectors or its models are not what they should be.
        BackendError: no engine is installed, or one does not start.
    """
    return selftest_bundle(read_bundle(path))


def selftest_bundle(bundle: Bundle) -> list[SelfTest]:
    """Tests a bundle that has been read already; see `selftest`."""
    # Only here: `load` does without.
    from tinsmith_runtime.cpu import read_cpu
    from tinsmith_runtime.probe.process import probe_variant

    golden = bundle.golden()
    integer = [v for v in bundle.manifest.variants if v.precision == "int8"]
    installed = [find_backend(name) for name in installed_backends()]
    chosen = [
        (spec, next(variant for variant in integer if variant.format in spec.formats))
        for spec in installed
        if any(variant.format in spec.formats for variant in integer)
    ]
    if not chosen:
        runners = [spec for variant in integer for spec in backends_of(variant.format)]
        if not runners:
            raise BackendError("the bundle holds int8 for no engine that this tinsmith knows")
        held = ", ".join(dict.fromkeys(spec.name for spec in runners))
        extras = " or ".join(dict.fromkeys(f"'{spec.extra}'" for spec in runners))
        raise BackendError(
            f"the bundle holds int8 for {held}: that is not installed: pip install {extras}"
        )
    cpu = read_cpu()
    results = []
    for spec, variant in chosen:
        answer = probe_variant(spec, bundle, variant)
        pairs = zip(answer.outputs, parts(golden.outputs_int8), strict=True)
        differences = [found.astype(np.int16) - expected for found, expected in pairs]
        names = [output.name for output in bundle.manifest.outputs]
        named = zip(names if len(names) > 1 else [""], differences, strict=True)
        mismatches = [_mismatch(each, difference, answer.max_lsb) for each, difference in named]
        vectors = len(differences[0])
        rows = [difference.reshape(vectors, -1) for difference in differences]
        together = np.abs(np.concatenate(rows, axis=1))
        results.append(
            SelfTest(
                backend=spec.name,
                engine_version=answer.version,
                cpu=cpu,
                vectors=vectors,
                equal_vectors=int(np.sum(~together.any(axis=1))),
                max_difference_lsb=int(together.max()),
                mismatch=next(filter(None, mismatches), ""),
                elapsed_ms=answer.elapsed_ms,
            )
        )
    return results


def _mismatch(output: str, difference: Array, max_lsb: int) -> str:
    """Says where an output, by its name if it is one of several, first differs by too much."""
    wrong = np.argwhere(np.abs(difference) > max_lsb)
    if not len(wrong):
        return ""
    vector, *place = (int(i) for i in wrong[0])
    where = f"{output}[{', '.join(map(str, place))}]" if output else ", ".join(map(str, place))
    by = int(difference[tuple(wrong[0])])
    return f"golden vector {vector}, output {where}: differs by {by:+d} LSB"


def require_passed(results: list[SelfTest]) -> None:
    """Raises a `BackendError` that names every engine whose outputs are not the golden ones."""
    failed = [f"{r.engine_version} on {r.cpu}: {r.mismatch}" for r in results if r.mismatch]
    if failed:
        raise BackendError(f"the self-test failed: {'; '.join(failed)}")
