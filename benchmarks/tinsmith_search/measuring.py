"""What only a board or a machine can tell of a bundle: its latencies."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_bench import Options, Report, bench
from tinsmith_bench.report_data.variant import Variant
from tinsmith_bench.test_set import Samples
from tinsmith_data import Dataset
from tinsmith_runtime.cpu import parse_cpuinfo
from tinsmith_search.cache import Cache
from tinsmith_search.errors import SearchError
from tinsmith_search.goals import Metric

QUICK = Options(rounds=48, processes=8, cold_starts=1, batches=(1,))
_RESAMPLES = 2000
_TIMED = 256  # inputs that are enough to time a network with


@dataclass(frozen=True)
class Measured:
    """What was measured of one bundle.

    Attributes:
        values: by the metric's name, as in the goals.
        intervals: their 95 % intervals.
        measured_on: the machine or board, with its CPU.
    """

    values: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    measured_on: str | None = None


class Measure:
    """Measures bundles; what was measured once is kept.

    Args:
        metrics: what the goals ask for.
        cache: of the run folder.
        dataset: whose test images are run; those held back, during a search.
    """

    def __init__(self, metrics: tuple[Metric, ...], cache: Cache, dataset: Dataset) -> None:
        self._metrics, self._cache = metrics, cache
        x, y = dataset.x_test[:_TIMED], dataset.y_test[:_TIMED]
        self._samples = Samples(dataset.name, dataset.sha256, x, y)

    def __call__(self, bundle: Path, key: str) -> Measured:
        """Measures a bundle.

        Args:
            bundle: its file.
            key: the hash of all that it was made of.
        """
        found = Measured()
        for tag in dict.fromkeys(metric.board for metric in self._metrics):
            one = self._here(bundle, key)
            names = [metric for metric in self._metrics if metric.board == tag]
            found.values.update({str(name): one.values[name.name] for name in names})
            known = [metric for metric in names if metric.name in one.intervals]
            found.intervals.update({str(name): one.intervals[name.name] for name in known})
            found = Measured(found.values, found.intervals, one.measured_on)
        return found

    def _here(self, bundle: Path, key: str) -> Measured:
        """Measures on this machine."""

        def make(folder: Path) -> dict[str, Any]:
            report = bench([bundle], samples=self._samples, options=QUICK)
            (folder / "report.json").write_text(report.to_json(), encoding="utf-8")
            return asdict(latencies(report))

        where = f"this machine, {_cpu()}"
        facts = self._cache.get("measure", {"bundle": key, "where": where}, make).facts
        intervals = {name: (low, high) for name, (low, high) in facts["intervals"].items()}
        return Measured(facts["values"], intervals, where)


def latencies(report: Report) -> Measured:
    """The latencies of a bundle in a report: those of its int8 file that comes first.

    The interval of the median is that of its rounds (Efron and Tibshirani 1993, chapter 13).
    """
    times = int8_variant(report).speed.latency_us
    rounds = np.array(times.rounds_p50)
    draws = np.random.default_rng(0).choice(rounds, (_RESAMPLES, len(rounds)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    p50 = (min(float(low), times.p50), max(float(high), times.p50))
    values = {"latency_us_p50": times.p50, "latency_us_p99": times.p99}
    return Measured(values, {"latency_us_p50": p50})


def int8_variant(report: Report) -> Variant:
    """The int8 file of a report that comes first."""
    for variant in report.variants:
        if variant.precision == "int8":
            return variant
    raise SearchError("expected an engine that runs the bundle here, got none: tinsmith doctor")


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return "unknown CPU"
    return str(parse_cpuinfo(text).name)
