"""What a variant costs to start: time and memory of fresh processes that predict once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic_ns

from tinsmith_bench.estimate import extremes
from tinsmith_bench.report import ColdStart
from tinsmith_runtime import TinsmithError

PROBE = Path(__file__).with_name("probe.py")
# A Raspberry Pi needs some 5 s with a cold disk; an engine that takes minutes hangs.
TIMEOUT_S = 300


def run_probe(
    bundle: Path, backend: str, precision: str, threads: int, sample: Path
) -> dict[str, float]:
    """Runs `probe.py` once in a process of its own.

    Args:
        bundle: the bundle's path.
        backend: `litert` or `onnx`.
        precision: `int8` or `float`.
        threads: that the engine may use.
        sample: a `.npy` file of the input that it predicts.

    Raises:
        TinsmithError: the process failed or hung; the message ends with its last words.
    """
    # -P: the folder of probe.py must not come before the standard library on the child's path.
    words = [sys.executable, "-P", str(PROBE), str(bundle), backend, precision, str(threads)]
    words += [str(sample), str(monotonic_ns())]
    try:
        child = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TinsmithError(f"cold start of {precision} on {backend}: {error}") from error
    if child.returncode != 0:
        last_words = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TinsmithError(
            f"cold start of {precision} on {backend} ended with status {child.returncode}: "
            f"{last_words}"
        )
    costs: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return costs


def summarize_runs(runs: Sequence[dict[str, float]]) -> ColdStart:
    """Takes the median, lowest and highest of each cost."""
    names = ColdStart.__dataclass_fields__
    return ColdStart(**{name: extremes([run[name] for run in runs]) for name in names})
