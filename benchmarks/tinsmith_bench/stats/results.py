"""From raw measurements to what a report says of each variant, and of every two."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import (
    ColdStart,
    Comparison,
    Estimate,
    Method,
    Speed,
    SpeedRatio,
    Throughput,
    Variant,
)
from tinsmith_bench.stats.accuracy import error_ratio, judge, judge_values, sample_errors
from tinsmith_bench.stats.detection import Boxes, map_changes
from tinsmith_bench.stats.fidelity import compare_outputs
from tinsmith_bench.stats.intervals import paired_ratio
from tinsmith_bench.target import Target
from tinsmith_bench.test_set import Samples
from tinsmith_bench.timing.latency import summarize
from tinsmith_bench.timing.timings import Timings
from tinsmith_runtime.batch import Array, Arrays, parts


@dataclass(frozen=True, eq=False)
class Measured:
    """The raw measurements of one variant.

    Attributes:
        target: what was measured.
        engine_version: its engine's name and version.
        outputs: for every sample, `float32 (N, ...)`; a tuple of these for several outputs.
        timings: one for each number of threads.
        start: what fresh processes cost.
        boxes: what a detector found; `None` for others, and without true boxes.
    """

    target: Target
    engine_version: str
    outputs: Arrays
    timings: tuple[Timings, ...]
    start: ColdStart | None
    boxes: Boxes | None = None


def describe(
    one: Measured,
    others: Sequence[Measured],
    samples: Samples,
    labels: Sequence[str],
    method: Method,
    outputs: Sequence[str] = (),
) -> Variant:
    """Says what was found of one variant.

    Args:
        one: the variant.
        others: all of them, itself too.
        samples: what they ran on.
        labels: the class names; none for values.
        method: how they were measured.
        outputs: their names, where there are several.
    """
    target, truth = one.target, None if one.boxes else samples.targets
    reference = _float_of(one, others)
    floats = None if reference is None else _only(reference.outputs)
    accuracy = regression = None
    if truth is not None and labels:
        accuracy = judge(_only(one.outputs), truth, labels, method.top_k, floats)
    elif truth is not None:
        regression = judge_values(_only(one.outputs), truth, np.random.default_rng(method.seed))
    return Variant(
        id=target.id,
        bundle=target.bundle,
        name=target.name,
        engine=target.engine,
        engine_version=one.engine_version,
        precision=target.precision,
        file=target.file,
        size_bytes=target.size_bytes,
        accuracy=accuracy,
        regression=regression,
        fidelity=None
        if reference is None
        else compare_outputs(
            one.outputs,
            reference.outputs,
            reference.target.id,
            samples.inputs,
            truth if labels else None,
            classes=bool(labels),
            names=outputs,
        ),
        speeds=tuple(
            _speed(threads, timings, method)
            for threads, timings in zip(method.threads, one.timings, strict=True)
        ),
        cold_start=one.start,
        detection=one.boxes.detection if one.boxes else None,
    )


def _only(outputs: Arrays) -> Array:
    """The one output of a model that has targets."""
    return parts(outputs)[0]


def _float_of(one: Measured, others: Sequence[Measured]) -> Measured | None:
    """The float variant of the same bundle: on the same engine if it is there, else the fastest."""
    mine = one.target
    found = [
        other
        for other in others
        if (other.target.bundle, other.target.precision) == (mine.bundle, "float")
    ]
    if mine.precision == "float" or not found:
        return None
    return min(found, key=lambda other: (other.target.engine != mine.engine, _p50(other)))


def _p50(one: Measured) -> float:
    return float(np.median(np.concatenate(one.timings[0].latency)))


def _speed(threads: int, timings: Timings, method: Method) -> Speed:
    paced = late = None
    if method.rate_hz:
        paced = summarize(timings.paced)
        late = float(np.mean(np.concatenate(timings.paced) > 1e9 / method.rate_hz))
    batch_ns = {size: np.median(np.concatenate(rows)) for size, rows in timings.batches.items()}
    return Speed(
        threads=threads,
        latency_us=summarize(timings.latency),
        engine_us=summarize(timings.engine),
        paced_us=paced,
        late=late,
        throughput=tuple(
            Throughput(size, round(size * 1e9 / float(batch_ns[size]), 1))
            for size in method.batches
        ),
    )


def compare(
    one: Measured, other: Measured, samples: Samples, method: Method, *, classes: bool
) -> Comparison:
    """Holds one variant against another, the reference."""
    agreement = lost = won = mae_ratio = None
    map50_change = map_change = None
    targets = None if one.boxes else samples.targets
    if one.boxes and other.boxes:
        map50_change, map_change = map_changes(one.boxes, other.boxes)
    if classes:
        mine, its = (_only(found.outputs).argmax(axis=1) for found in (one, other))
        agreement = float(np.mean(mine == its))
        if targets is not None:
            lost = int(np.sum((mine != targets) & (its == targets)))
            won = int(np.sum((mine == targets) & (its != targets)))
    elif targets is not None:
        mae_ratio = error_ratio(
            sample_errors(_only(one.outputs), targets),
            sample_errors(_only(other.outputs), targets),
            np.random.default_rng(method.seed),
        )
    return Comparison(
        candidate=one.target.id,
        baseline=other.target.id,
        speeds=tuple(
            SpeedRatio(
                threads=threads,
                latency=_ratio(mine.latency, its.latency, method),
                engine=_ratio(mine.engine, its.engine, method),
                fastest=min(map(np.min, mine.latency)) / min(map(np.min, its.latency)),
            )
            for threads, mine, its in zip(method.threads, one.timings, other.timings, strict=True)
        ),
        agreement=agreement,
        lost=lost,
        won=won,
        mcnemar_p=None,
        mae_ratio=mae_ratio,
        map50_change=map50_change,
        map_change=map_change,
    )


def _ratio(
    mine: Sequence[NDArray[np.int64]], its: Sequence[NDArray[np.int64]], method: Method
) -> Estimate:
    times, reference = (np.array([np.median(row) for row in rows]) for rows in (mine, its))
    rng = np.random.default_rng(method.seed)
    return paired_ratio(times, reference, method.processes, rng)
