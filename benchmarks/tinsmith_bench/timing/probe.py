"""The child process of a cold start: import, load, predict once, answer the cost as JSON.

It is run by its path and not by its name with `-m`, which would import the package first and charge
its modules to the engine. So it may import the runtime alone.
"""

from time import monotonic_ns

BEGUN_NS = monotonic_ns()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def probe(
    bundle: str, backend: str, precision: str, threads: int, samples: list[str], started_ns: int
) -> dict[str, float]:
    """Starts one variant of a bundle from nothing.

    Args:
        bundle: its path.
        backend: its name.
        precision: `int8` or `float`.
        threads: that the engine may use.
        samples: for each input a `.npy` file of a real one.
        started_ns: when the parent started this process, on the clock that both share.

    Returns:
        `interpreter_ms` (until this file's first line), `import_ms` (the runtime and numpy),
        `load_ms` (the bundle and the engine, its import included), `first_ms` (the first
        prediction), `start_ms` (these four together) and the `peak_rss_bytes` of this process.
    """
    before = monotonic_ns()
    from tinsmith_runtime import load

    imported = monotonic_ns()
    with load(bundle, backend=backend, precision=precision, threads=threads) as model:
        loaded = monotonic_ns()
        import numpy as np

        inputs = [np.load(sample)[np.newaxis] for sample in samples]
        batch = inputs[0] if len(inputs) == 1 else inputs
        ready = monotonic_ns()
        model.predict(batch)
        predicted = monotonic_ns()
    parts = {
        "interpreter_ms": BEGUN_NS - started_ns,
        "import_ms": imported - before,
        "load_ms": loaded - imported,
        "first_ms": predicted - ready,
    }
    costs = {name: ns / 1e6 for name, ns in parts.items()}
    return {**costs, "start_ms": sum(costs.values()), "peak_rss_bytes": peak_rss_bytes()}


def peak_rss_bytes() -> int:
    """The most physical memory that this process ever held, in bytes.

    Linux is asked for `VmHWM`: `getrusage` there counts what the parent held before `exec` too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


if __name__ == "__main__":
    bundle, backend, precision, threads, *samples, started, channel = sys.argv[1:]
    costs = probe(bundle, backend, precision, int(threads), samples, int(started))
    with os.fdopen(int(channel), "w") as answer:
        json.dump(costs, answer)
