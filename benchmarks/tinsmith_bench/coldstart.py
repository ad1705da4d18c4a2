"""What a variant costs to start: time and memory of fresh processes that predict once."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from time import monotonic_ns

from tinsmith_bench.child import run_python
from tinsmith_bench.estimate import Estimate, extremes
from tinsmith_bench.report import ColdStart

PROBE = Path(__file__).with_name("probe.py")


def run_probe(
    bundle: Path, backend: str, precision: str, threads: int, *samples: Path
) -> dict[str, float]:
    """Runs `probe.py` once in a process of its own.

    Args:
        bundle: the bundle's path.
        backend: `litert` or `onnx`.
        precision: `int8` or `float`.
        threads: that the engine may use.
        samples: for each input a `.npy` file of what it predicts from.

    Raises:
        TinsmithError: the process failed or hung.
    """
    words = [str(PROBE), str(bundle), backend, precision, str(threads), *map(str, samples)]
    said = run_python([*words, str(monotonic_ns())], f"cold start of {precision} on {backend}")
    costs: dict[str, float] = json.loads(said.splitlines()[-1])
    return costs


def summarize_runs(runs: Sequence[dict[str, float]]) -> ColdStart:
    """Takes the median, lowest and highest of each cost."""
    names = (field.name for field in fields(ColdStart) if field.type is Estimate)
    costs = {name: extremes([run[name] for run in runs]) for name in names}
    return ColdStart(runs=len(runs), **costs)
