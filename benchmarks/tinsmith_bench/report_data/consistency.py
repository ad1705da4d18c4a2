"""Checks that the numbers of a report agree: one that is not trusted must break no table.

`reading.parse_report` has checked every field's type before.
"""

from dataclasses import fields
from itertools import combinations
from math import isclose

from tinsmith_bench.report_data.checks import (
    ROUNDING,
    Problems,
    between,
    ordered,
    pixels,
    unique,
)
from tinsmith_bench.report_data.comparison import Comparison
from tinsmith_bench.report_data.detection_checks import detection_problems, image_problems
from tinsmith_bench.report_data.estimate import Estimate
from tinsmith_bench.report_data.report import Method, Report
from tinsmith_bench.report_data.variant import Accuracy, Fidelity, Flip, Latency, Speed, Variant
from tinsmith_runtime.record import mismatch

TARGETS = ("labels", "values", "boxes", "none")
# Beyond these nothing was measured: 11 days in µs, and as many bytes as a double counts.
_LONGEST = 1e12
_MOST = 2**53


def require_consistent(report: Report, is_judged: bool) -> None:
    """Refuses a report whose numbers contradict each other.

    Raises:
        ValueError: they do; the first three are named with their paths.
    """
    problems = []
    for problem in _problems(report, is_judged):
        problems.append(mismatch(*problem))
        if len(problems) == 3:
            break
    if problems:
        raise ValueError("; ".join(problems))


def _problems(report: Report, is_judged: bool) -> Problems:
    method, dataset = report.method, report.dataset
    for name in ("bundles", "variants", *(["verdict"] if is_judged else [])):
        if not getattr(report, name):
            yield name, "at least one", ()
            return
    yield from unique("bundles", [one.name for one in report.bundles])
    ids = [one.id for one in report.variants]
    yield from unique("variants", ids)
    if report.bundles[0].name not in {one.bundle for one in report.variants}:
        yield "variants", "one of the first bundle", report.bundles[0].name
    yield from _method(method)
    yield from between("dataset.samples", dataset.samples, 1, _MOST)
    if dataset.targets not in TARGETS:
        yield "dataset.targets", f"one of {', '.join(TARGETS)}", dataset.targets
    if dataset.decode_us is not None:
        yield from between("dataset.decode_us", dataset.decode_us, 0, _LONGEST)
    yield from between("machine.cores", report.machine.cores, 1, _MOST)
    yield from between("machine.memory_bytes", report.machine.memory_bytes or 0, 0, _MOST)
    for number, one in enumerate(report.variants):
        yield from _variant(f"variants[{number}]", one, report)
    pairs = [{pair.candidate, pair.baseline} for pair in report.comparisons]
    if sorted(map(sorted, pairs)) != sorted(sorted(pair) for pair in combinations(ids, 2)):
        yield "comparisons", "every two variants once", pairs
    for number, pair in enumerate(report.comparisons):
        yield from _comparison(f"comparisons[{number}]", pair, method)
    yield from image_problems(report)
    for number, profile in enumerate(report.profiles):
        if profile.variant not in ids:
            yield f"profiles[{number}].variant", f"one of {', '.join(ids)}", profile.variant
        for index, operator in enumerate(profile.operators):
            path = f"profiles[{number}].operators[{index}]"
            if operator.arithmetic not in ("integer", "float", "mixed"):
                yield f"{path}.arithmetic", "integer, float or mixed", operator.arithmetic
            yield from between(f"{path}.time_us", operator.time_us or 0, 0, _LONGEST)
            yield from between(f"{path}.share", operator.share or 0, 0, 1 + ROUNDING)


def _method(method: Method) -> Problems:
    yield from between("method.processes", method.processes, 2, 1e6)
    yield from between("method.rounds", method.rounds, 2, 1e9)
    yield from between("method.seed", method.seed, 0, _MOST)
    if method.processes > 0 and method.rounds % method.processes:
        yield "method.rounds", "a multiple of the processes", method.rounds
    yield from between("method.top_k", method.top_k, 1, _MOST)
    yield from between("method.cold_starts", method.cold_starts, 1, _MOST)
    yield from between("method.timer_overhead_ns", method.timer_overhead_ns, 0, _LONGEST)
    if method.rate_hz is not None:
        yield from between("method.rate_hz", method.rate_hz, 1e-9, _LONGEST)
    for name, numbers in (("threads", method.threads), ("batches", method.batches)):
        yield from unique(f"method.{name}", numbers)
        if not numbers or not all(0 < number < _MOST for number in numbers):
            yield f"method.{name}", "numbers above 0", numbers


def _variant(path: str, one: Variant, report: Report) -> Problems:
    method, dataset = report.method, report.dataset
    yield from between(f"{path}.size_bytes", one.size_bytes, 1, _MOST)
    if [speed.threads for speed in one.speeds] != list(method.threads):
        yield f"{path}.speeds", f"threads {method.threads}", [s.threads for s in one.speeds]
    for number, speed in enumerate(one.speeds):
        yield from _speed(f"{path}.speeds[{number}]", speed, method)
    if (one.accuracy is not None) != (dataset.targets == "labels"):
        yield f"{path}.accuracy", f"it where targets are labels; they are {dataset.targets}", ""
    if (one.regression is not None) != (dataset.targets == "values"):
        yield f"{path}.regression", f"it where targets are values; they are {dataset.targets}", ""
    if one.accuracy is not None:
        yield from _accuracy(f"{path}.accuracy", one.accuracy, report)
    if one.regression is not None:
        yield from ordered(f"{path}.regression.mae", one.regression.mae, 0, 1e300)
        yield from between(f"{path}.regression.rmse", one.regression.rmse, 0, 1e300)
    if (one.detection is not None) != (dataset.targets == "boxes"):
        yield f"{path}.detection", f"it where targets are boxes; they are {dataset.targets}", ""
    if one.detection is not None:
        yield from detection_problems(f"{path}.detection", one.detection, dataset.labels)
    if one.fidelity is not None:
        yield from _fidelity(f"{path}.fidelity", one.fidelity, report)
    if one.cold_start is not None:
        yield from between(f"{path}.cold_start.runs", one.cold_start.runs, 1, _MOST)
        for field in fields(one.cold_start):
            if isinstance(estimate := getattr(one.cold_start, field.name), Estimate):
                yield from ordered(f"{path}.cold_start.{field.name}", estimate, 1e-9, _MOST)


def _speed(path: str, speed: Speed, method: Method) -> Problems:
    yield from _latency(f"{path}.latency_us", speed.latency_us, method.rounds)
    yield from _latency(f"{path}.engine_us", speed.engine_us, method.rounds)
    if (speed.paced_us is None) != (method.rate_hz is None):
        yield f"{path}.paced_us", "it where there is a rate", speed.paced_us and "it without"
    if speed.paced_us is not None:
        yield from _latency(f"{path}.paced_us", speed.paced_us, None)
    yield from between(f"{path}.late", speed.late or 0, 0, 1)
    sizes = [one.batch for one in speed.throughput]
    if sizes != list(method.batches):
        yield f"{path}.throughput", f"batches {method.batches}", sizes
    for number, one in enumerate(speed.throughput):
        rate = one.samples_per_s
        yield from between(f"{path}.throughput[{number}].samples_per_s", rate, 0, _LONGEST)


def _latency(path: str, latency: Latency, rounds: int | None) -> Problems:
    percentiles = latency.percentiles
    if len(percentiles) != 101 or list(percentiles) != sorted(percentiles):
        yield f"{path}.percentiles", "101 of them, ascending", percentiles
        return
    yield from between(f"{path}.calls", latency.calls, 1, _MOST)
    quantiles = {"min": 0, "p50": 50, "p90": 90, "p99": 99}
    for name, percent in quantiles.items():
        value = getattr(latency, name)
        yield from between(f"{path}.{name}", value, 1e-6, _LONGEST)
        # They are written to the nanosecond.
        if abs(value - percentiles[percent]) > 0.001:
            yield f"{path}.{name}", f"that of the percentiles, {percentiles[percent]:g}", value
    for name in ("rounds_p50", "rounds_p90"):
        values = getattr(latency, name)
        if len(values) != (rounds or len(values)):
            yield f"{path}.{name}", f"one for each of {rounds} rounds", values
        if not all(1e-6 <= value <= _LONGEST for value in values):
            yield f"{path}.{name}", "times above 0", values


def _accuracy(path: str, accuracy: Accuracy, report: Report) -> Problems:
    samples, labels = report.dataset.samples, report.dataset.labels
    yield from ordered(f"{path}.top1", accuracy.top1, 0, 1)
    yield from ordered(f"{path}.topk", accuracy.topk, 0, 1)
    yield from between(f"{path}.correct", accuracy.correct, 0, samples)
    yield from unique(f"{path}.wrong", accuracy.wrong)
    if accuracy.correct + len(accuracy.wrong) != samples:
        yield f"{path}.correct", f"{samples - len(accuracy.wrong)}", accuracy.correct
    if not isclose(accuracy.top1.value, accuracy.correct / max(1, samples), abs_tol=ROUNDING):
        yield f"{path}.top1.value", "the share of the correct", accuracy.top1.value
    if not all(0 <= index < samples for index in accuracy.wrong):
        yield f"{path}.wrong", f"indices of {samples} samples", accuracy.wrong
    if tuple(one.label for one in accuracy.classes) != labels:
        yield f"{path}.classes", "one for each label", [one.label for one in accuracy.classes]
    for number, one in enumerate(accuracy.classes):
        yield from between(f"{path}.classes[{number}].samples", one.samples, 0, samples)
        for count in (one.correct, one.correct_float or 0):
            yield from between(f"{path}.classes[{number}].correct", count, 0, one.samples)
    for number, (label, guess, count) in enumerate(accuracy.confusion):
        if not (0 <= label < len(labels) and 0 <= guess < len(labels) and 0 < count <= samples):
            yield f"{path}.confusion[{number}]", "two labels and a count", (label, guess, count)


def _fidelity(path: str, fidelity: Fidelity, report: Report) -> Problems:
    ids = [one.id for one in report.variants]
    if fidelity.baseline not in ids:
        yield f"{path}.baseline", f"one of {', '.join(ids)}", fidelity.baseline
    if fidelity.agreement is not None:
        yield from ordered(f"{path}.agreement", fidelity.agreement, 0, 1)
    yield from between(f"{path}.flipped", fidelity.flipped, 0, report.dataset.samples)
    yield from between(f"{path}.flips", len(fidelity.flips), 0, fidelity.flipped)
    for number, flip in enumerate(fidelity.flips):
        yield from _flip(f"{path}.flips[{number}]", flip, len(report.dataset.labels))


def _flip(path: str, flip: Flip, labels: int) -> Problems:
    for name in ("was", "now", "label"):
        if (index := getattr(flip, name)) is not None:
            yield from between(f"{path}.{name}", index, 0, labels - 1)
    yield from pixels(path, flip.shape, flip.pixels)


def _comparison(path: str, pair: Comparison, method: Method) -> Problems:
    if [ratio.threads for ratio in pair.speeds] != list(method.threads):
        yield f"{path}.speeds", f"threads {method.threads}", [s.threads for s in pair.speeds]
    for number, ratio in enumerate(pair.speeds):
        for name in ("latency", "engine"):
            estimate = getattr(ratio, name)
            yield from ordered(f"{path}.speeds[{number}].{name}", estimate, 1e-12, _LONGEST)
        yield from between(f"{path}.speeds[{number}].fastest", ratio.fastest, 1e-12, _LONGEST)
    for name, most in (("agreement", 1), ("mcnemar_p", 1), ("lost", _MOST), ("won", _MOST)):
        yield from between(f"{path}.{name}", getattr(pair, name) or 0, 0, most)
    if pair.mae_ratio is not None:
        yield from ordered(f"{path}.mae_ratio", pair.mae_ratio, 1e-300, 1e300)
    for name in ("map50_change", "map_change"):
        if (change := getattr(pair, name)) is not None:
            yield from ordered(f"{path}.{name}", change, -1, 1)
