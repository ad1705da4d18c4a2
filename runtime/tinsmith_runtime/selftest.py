"""The self-test: golden vectors, bit for bit, on every engine of this machine."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinsmith_runtime.backends import installed_backends
from tinsmith_runtime.bundle import read_bundle
from tinsmith_runtime.errors import BackendError
from tinsmith_runtime.manifest import ENGINE_OF_FORMAT
from tinsmith_runtime.model import open_model


@dataclass(frozen=True)
class SelfTest:
    """One engine's result: `mismatch` is empty, or says which vector, which output, how far."""

    backend: str
    engine_version: str
    vectors: int
    equal_vectors: int
    mismatch: str
    elapsed_ms: float


def selftest(path: str | Path) -> list[SelfTest]:
    """Runs every golden vector on every installed engine.

    Args:
        path: a bundle.

    Returns:
        A result for each engine for which the bundle holds an int8 model.

    Raises:
        BundleError: the bundle or its golden vectors are damaged.
        BackendError: no engine is installed, or one does not start.
    """
    bundle = read_bundle(path)
    golden = bundle.golden()
    integer = [v for v in bundle.manifest.variants if v.precision == "int8"]
    engines = sorted({ENGINE_OF_FORMAT[variant.format] for variant in integer})
    installed = [name for name in installed_backends() if name in engines]
    if not installed:
        held = ", ".join(engines) or "no engine"
        raise BackendError(f"the bundle holds int8 for {held}: that is not installed")
    results = []
    for name in installed:
        start = time.perf_counter()
        with open_model(bundle, name) as model:
            outputs = model.predict_raw(golden.inputs)
        elapsed_ms = (time.perf_counter() - start) * 1e3
        difference = outputs.astype(np.int16) - golden.outputs_int8
        wrong = np.argwhere(difference)
        mismatch = ""
        if len(wrong):
            vector, output = (int(i) for i in wrong[0])
            by = int(difference[vector, output])
            mismatch = f"golden vector {vector}, output {output}: differs by {by:+d} LSB"
        equal = int((difference == 0).all(axis=1).sum())
        results.append(
            SelfTest(name, model.engine_version, len(outputs), equal, mismatch, elapsed_ms)
        )
    return results
