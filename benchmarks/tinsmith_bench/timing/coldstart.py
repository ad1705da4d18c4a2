"""What a variant costs to start: time and memory of fresh processes that predict once."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Annotated

import numpy as np

from tinsmith_bench.report_data import ColdStart, Method, extremes
from tinsmith_bench.target import Target
from tinsmith_bench.timing.child import parse_answer, run_python
from tinsmith_bench.timing.latency import Watch, interleave
from tinsmith_bench.timing.limits import start_limit_s
from tinsmith_runtime.batch import Arrays, parts
from tinsmith_runtime.record import Rule

PROBE = Path(__file__).with_name("probe.py")

_Cost = Annotated[float, Rule("more than 0", lambda cost: cost > 0)]


@dataclass(frozen=True)
class Costs:
    """What one start cost, as `probe.probe` describes it."""

    interpreter_ms: _Cost
    import_ms: _Cost
    load_ms: _Cost
    first_ms: _Cost
    start_ms: _Cost
    peak_rss_bytes: _Cost


def run_probe(
    bundle: Path,
    backend: str,
    precision: str,
    threads: int,
    samples: Sequence[Path],
    limit_s: float,
) -> Costs:
    """Runs `probe.py` once in a process of its own.

    Args:
        bundle: the bundle's path.
        backend: its name.
        precision: `int8` or `float`.
        threads: that the engine may use.
        samples: for each input a `.npy` file of what it predicts from.
        limit_s: when the process counts as hung.

    Raises:
        TinsmithError: the process failed or hung.
    """
    what = f"cold start of {precision} on {backend}"
    words = [str(PROBE), str(bundle), backend, precision, str(threads), *map(str, samples)]
    return parse_answer(Costs, run_python([*words, str(monotonic_ns())], what, limit_s), what)[0]


def measure_starts(
    targets: Sequence[Target], sample: Arrays, method: Method, watch: Watch, sample_s: float
) -> dict[str, ColdStart]:
    """Starts every variant in fresh processes, in turns.

    Args:
        targets: the variants; those that cannot be started by themselves are left out.
        sample: what they predict from, without the batch axis.
        method: how often, and with how many threads.
        watch: is told how far it is.
        sample_s: what one input takes in all variants together, in seconds.

    Returns:
        The costs by the variant's id.
    """
    probes = {one.id: one.probe for one in targets if one.probe}
    runs: dict[str, list[Costs]] = {name: [] for name in probes}
    rng = np.random.default_rng(method.seed)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.npy") for number in range(len(parts(sample)))]
        for file, array in zip(files, parts(sample), strict=True):
            np.save(file, array)
        turns = list(interleave(list(probes), method.cold_starts, rng))
        for done, (_, name) in enumerate(turns, start=1):
            limit_s = start_limit_s(_size_bytes(probes[name][0]), sample_s)
            costs = run_probe(*probes[name], method.threads[0], files, limit_s)
            runs[name].append(costs)
            watch("cold start", done, len(turns))
    return {name: summarize_runs(costs) for name, costs in runs.items()}


def _size_bytes(bundle: Path) -> int:
    """The size of a bundle, all of which may be read: of its file, or the files in its folder."""
    files = bundle.iterdir() if bundle.is_dir() else [bundle]
    return sum(file.stat().st_size for file in files)


def summarize_runs(runs: Sequence[Costs]) -> ColdStart:
    """Takes the median, lowest and highest of each cost."""
    every = [asdict(run) for run in runs]
    costs = {name: extremes([run[name] for run in every]) for name in every[0]}
    return ColdStart(runs=len(runs), **costs)
