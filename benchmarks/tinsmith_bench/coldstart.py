"""What a variant costs to start: time and memory of fresh processes that predict once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tinsmith_bench.accuracy import Estimate
from tinsmith_runtime import TinsmithError

PROBE = Path(__file__).with_name("probe.py")
# A Raspberry Pi needs some 5 s with a cold disk; an engine that takes minutes hangs.
TIMEOUT_S = 300


@dataclass(frozen=True)
class ColdStart:
    """Costs of a fresh process: the median of the runs, from the lowest to the highest.

    Attributes:
        import_ms: importing the runtime, numpy included.
        load_ms: loading the bundle, the engine's import included.
        first_ms: the first prediction.
        start_ms: these three together.
        peak_rss_bytes: the most physical memory that the process held.
    """

    import_ms: Estimate
    load_ms: Estimate
    first_ms: Estimate
    start_ms: Estimate
    peak_rss_bytes: Estimate


def run_probe(bundle: Path, backend: str, precision: str, threads: int) -> dict[str, float]:
    """Runs `probe.py` once in a process of its own.

    Raises:
        TinsmithError: the process failed or hung; the message ends with its last words.
    """
    # -P: the folder of probe.py must not come before the standard library on the child's path.
    words = [sys.executable, "-P", str(PROBE), str(bundle), backend, precision, str(threads)]
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
    columns = {key: [run[key] for run in runs] for key in ColdStart.__dataclass_fields__}
    return ColdStart(
        **{key: Estimate(median(row), min(row), max(row)) for key, row in columns.items()}
    )
