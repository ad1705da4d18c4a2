"""The child process of a cold start: import, load, predict once, print the cost as JSON.

It is run by its path and not as `-m tinsmith_bench.probe`, which would import the package first
and charge its modules to the engine. So it may import the runtime alone.
"""

import json
import sys
from pathlib import Path
from time import perf_counter


def probe(bundle: str, backend: str, precision: str, threads: int) -> dict[str, float]:
    """Starts one variant of a bundle from nothing.

    Returns:
        `import_ms` (the runtime and numpy), `load_ms` (the bundle and the engine, its import
        included), `first_ms` (the first prediction), `start_ms` (these three together) and the
        `peak_rss_bytes` of this process.
    """
    start = perf_counter()
    from tinsmith_runtime import load

    imported = perf_counter()
    with load(bundle, backend=backend, precision=precision, threads=threads) as model:
        loaded = perf_counter()
        import numpy as np

        model.predict(np.zeros((1, *filter(None, model.input.shape[1:])), np.uint8))
        predicted = perf_counter()
    return {
        "import_ms": (imported - start) * 1e3,
        "load_ms": (loaded - imported) * 1e3,
        "first_ms": (predicted - loaded) * 1e3,
        "start_ms": (predicted - start) * 1e3,
        "peak_rss_bytes": peak_rss_bytes(),
    }


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
    bundle, backend, precision, threads = sys.argv[1:]
    print(json.dumps(probe(bundle, backend, precision, int(threads))))
