"""When a difference between two variants is real: not chance, and not too small to matter.

Every table, verdict and gate asks here, so that none calls a difference what another does not.
"""

from dataclasses import dataclass

from tinsmith_bench.report_data import ColdStart, Comparison, Estimate, Report, SpeedRatio, Variant

# Where a model happens to lie in memory makes it faster or slower. Engines are loaded afresh every
# few rounds, so intervals know of it, but one process has one address space: the same model twice
# in one process came out up to 1.3 % apart. Nothing below 3 % is called a difference.
SPEED_MARGIN = 0.03
# Less likely by chance than 1 in 20 is called a difference: McNemar's p, and every interval.
SIGNIFICANT = 0.05
# Ranges of five runs each lie apart by chance 1 time in 126, those of three 1 time in 10: too often
# for a time, while memory hardly varies. What is apart by less than so much is nothing to choose a
# model by.
MEMORY_MARGIN = 0.01
START_MARGIN = 0.10
START_RUNS = 5


@dataclass(frozen=True)
class Difference:
    """One respect in which a variant really differs from another.

    Attributes:
        metric: `latency`, `engine`, `accuracy`, `error`, `map`, `size`, `memory` or `start`.
        better: whether the variant is the better one.
        text: what a person is told.
    """

    metric: str
    better: bool
    text: str


def is_faster(ratio: SpeedRatio) -> bool:
    """Whether a variant is faster than its reference by more than noise.

    Load from outside does not slow all variants by the same factor: p50s were seen to say 1.20 in
    a whole run where a quiet machine says 0.95. The fastest calls must say the same, therefore.
    """
    return ratio.latency.high < 1 - SPEED_MARGIN and ratio.fastest < 1


def is_slower(ratio: SpeedRatio) -> bool:
    """Whether a variant is slower than its reference by more than noise; see `is_faster`."""
    return is_faster(ratio.inverse())


def are_apart(one: Estimate, other: Estimate, margin: float) -> bool:
    """Whether two ranges of runs lie apart, by more than `margin` of the larger one."""
    return one.high < (1 - margin) * other.low or other.high < (1 - margin) * one.low


def are_starts_apart(one: ColdStart, other: ColdStart) -> bool:
    """Whether one of two variants really starts faster."""
    enough = min(one.runs, other.runs) >= START_RUNS
    return enough and are_apart(one.start_ms, other.start_ms, START_MARGIN)


def is_accuracy_changed(pair: Comparison) -> bool:
    """Whether one of two classifiers is right more often than chance explains."""
    return pair.mcnemar_p is not None and pair.mcnemar_p < SIGNIFICANT


def is_error_changed(pair: Comparison) -> bool:
    """Whether one of two regressors errs more than chance explains."""
    ratio = pair.mae_ratio
    return ratio is not None and not ratio.low <= 1 <= ratio.high


def is_map_changed(pair: Comparison) -> bool:
    """Whether one of two detectors has more mean average precision, in the same images."""
    change = pair.map50_change
    return change is not None and not change.low <= 0 <= change.high


def differences(one: Variant, other: Variant, pair: Comparison) -> tuple[Difference, ...]:
    """In what one variant really differs from another, the most important first.

    Args:
        one: the variant.
        other: its reference.
        pair: the one against the other.
    """
    found = []
    ratio = pair.speed.latency
    interval = f"95 % interval {ratio.low:.2f} to {ratio.high:.2f}"
    if is_faster(pair.speed) or is_slower(pair.speed):
        text = f"it takes {ratio.value:.2f} of its time ({interval})"
        found.append(Difference("latency", ratio.value < 1, text))
    if one.accuracy and other.accuracy and is_accuracy_changed(pair):
        points = 100 * (one.accuracy.top1.value - other.accuracy.top1.value)
        text = f"{points:+.2f} points of accuracy (McNemar p = {pair.mcnemar_p:.2g})"
        found.append(Difference("accuracy", points > 0, text))
    if pair.mae_ratio and is_error_changed(pair):
        text = f"{pair.mae_ratio.value:.3f} of its error"
        found.append(Difference("error", pair.mae_ratio.value < 1, text))
    if pair.map50_change and is_map_changed(pair):
        change = pair.map50_change
        text = f"{100 * change.value:+.2f} points of mAP@0.5 ({points_interval(change)})"
        found.append(Difference("map", change.value > 0, text))
    if one.size_bytes != other.size_bytes:
        text = f"{one.size_bytes / 1e3:.1f} kB, not {other.size_bytes / 1e3:.1f}"
        found.append(Difference("size", one.size_bytes < other.size_bytes, text))
    if one.cold_start and other.cold_start:
        mine, its = one.cold_start.peak_rss_bytes, other.cold_start.peak_rss_bytes
        if are_apart(mine, its, MEMORY_MARGIN):
            text = f"{mine.value / 1e6:.1f} MB of memory, not {its.value / 1e6:.1f}"
            found.append(Difference("memory", mine.value < its.value, text))
        mine, its = one.cold_start.start_ms, other.cold_start.start_ms
        if are_starts_apart(one.cold_start, other.cold_start):
            text = f"started in {mine.value:.0f} ms, not {its.value:.0f}"
            found.append(Difference("start", mine.value < its.value, text))
    return tuple(found)


def points_interval(change: Estimate) -> str:
    """The interval of a difference of two shares, in percentage points."""
    return f"95 % interval {100 * change.low:+.2f} to {100 * change.high:+.2f}"


def reference_of(variant: Variant, report: Report) -> Variant | None:
    """What a variant is held against: its like in the first bundle, else its float model.

    A competitor, which is in no bundle, is held against what comes closest to it there.
    """
    first = report.bundles[0].name
    if variant.bundle not in {bundle.name for bundle in report.bundles}:
        return min(
            (one for one in report.variants if one.bundle == first),
            key=lambda one: (
                one.engine != variant.engine,
                one.precision != variant.precision,
                one.precision != "int8",
            ),
        )
    for other in report.variants if variant.bundle != first else ():
        if (other.bundle, other.engine, other.precision) == (
            first,
            variant.engine,
            variant.precision,
        ):
            return other
    if variant.fidelity is None:
        return None
    return next(v for v in report.variants if v.id == variant.fidelity.baseline)
