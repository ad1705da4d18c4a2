"""What a board says of a bundle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_bench import Options, Report
from tinsmith_bench.stats.intervals import time_interval
from tinsmith_bench.test_set import Samples, check_samples
from tinsmith_data.data import digest
from tinsmith_runtime import read_bundle
from tinsmith_runtime.batch import joined, parts

OPTIONS = Options(rounds=48, processes=8, batches=(1,), cold_starts=1)
"""How a bundle of a search is measured: as with `tinsmith bench --quick`, without large batches."""


@dataclass(frozen=True)
class Measurement:
    """What was measured of a bundle: of its int8 file that is the fastest there.

    Attributes:
        values: by the metric's name, without the tag: `latency_us_p50`, `latency_us_p99`.
        intervals: at 95 %, low and high, of those that have one.
        measured_on: the hardware. Measurements of which it differs must not be compared.
        report: all of `tinsmith bench`, as its JSON holds it.
        board: the board's name.
        variant: which file on which engine, as in the report.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    measured_on: str
    report: dict[str, Any]
    board: str
    variant: str


def measurement_of(report: Report, board: str) -> Measurement:
    """Takes what a search needs out of a report on one bundle."""
    int8 = [one for one in report.variants if one.precision == "int8"]
    best = min(int8 or report.variants, key=lambda one: one.speed.latency_us.p50)
    latency, method = best.speed.latency_us, report.method
    rng = np.random.default_rng(method.seed)
    low, high = time_interval(np.array(latency.rounds_p50), method.processes, rng)
    return Measurement(
        values={"latency_us_p50": latency.p50, "latency_us_p99": latency.p99},
        # The median of all calls is not quite that of the rounds' medians.
        intervals={"latency_us_p50": (min(low, latency.p50), max(high, latency.p50))},
        measured_on=report.machine.hardware,
        report=json.loads(report.to_json()),
        board=board,
        variant=best.id,
    )


def golden_samples(path: Path) -> Samples:
    """The golden inputs of a bundle: real ones, and few; the search knows its accuracy already.

    Raises:
        BundleError: it is damaged.
    """
    bundle = read_bundle(path)
    inputs = parts(bundle.golden().inputs)
    samples = Samples("golden", digest(*inputs), joined(inputs), None)
    return check_samples(samples, bundle.manifest)
