"""The tables of a report, as text: the terminal, Markdown and HTML only lay them out."""

from collections.abc import Iterator

from tinsmith_bench.rendering.quality_tables import (
    accuracies,
    box_classes,
    classes_table,
    closeness,
    detections,
    percent,
)
from tinsmith_bench.report_data import Estimate, Profile, Report, SpeedRatio, Variant
from tinsmith_bench.stats.difference import is_faster, is_slower, reference_of
from tinsmith_report.tables import TextTable

# A class by itself is shown where there are no more; a long list would hide the rest.
MAX_CLASSES = 20
# Of an operator, so that the table fits 100 columns.
MAX_NAME = 48


def tables(report: Report) -> Iterator[TextTable]:
    """The tables of a report, the most important first."""
    yield _overview(report)
    if report.failures:
        yield TextTable(
            "Competitors that were not measured",
            ("competitor", "reason"),
            tuple((failure.name, failure.reason) for failure in report.failures),
            "Whatever could be made of the model is in the other tables.",
        )
    yield _speeds(report)
    yield _throughputs(report)
    if any(one.accuracy for one in report.variants):
        yield accuracies(report)
    if report.dataset.targets == "boxes":
        yield detections(report)
    if any(one.cold_start for one in report.variants):
        yield _starts(report)
    if any(one.fidelity for one in report.variants):
        yield closeness(report)
    few = 0 < len(report.dataset.labels) <= MAX_CLASSES
    if few and report.dataset.targets == "labels":
        yield classes_table(report)
    if few and report.dataset.targets == "boxes":
        yield box_classes(report)
    for profile in report.profiles:
        yield operators_table(profile, report)


def _overview(report: Report) -> TextTable:
    rows = []
    for one in report.variants:
        start = one.cold_start
        rows.append(
            (
                one.name,
                _quality(one),
                f"{one.speed.latency_us.p50:.0f}",
                *_against(one, report),
                f"{one.size_bytes / 1e3:.1f}",
                f"{start.start_ms.value:.0f}" if start else "-",
                f"{start.peak_rss_bytes.value / 1e6:.1f}" if start else "-",
            )
        )
    qualities = {"values": "error (MAE)", "boxes": "mAP@0.5 %"}
    quality = qualities.get(report.dataset.targets, "accuracy %")
    against = "float" if len({one.bundle for one in report.variants}) == 1 else "its like"
    return TextTable(
        "Overview",
        (
            "variant",
            f"{quality}\n[95 % interval]",
            "p50\nµs",
            f"time against {against}\n[95 % interval]",
            "result",
            "file\nkB",
            "start\nms",
            "peak\nMB",
        ),
        tuple(rows),
        "p50: one input at a time, from raw input to answer. A difference is called one where its "
        "whole interval lies beyond 3 % and the fastest calls say the same. start: a fresh process "
        "until its first answer; peak: the most memory it held.",
    )


def _quality(one: Variant) -> str:
    if one.accuracy:
        return percent(one.accuracy.top1)
    if one.regression:
        mae = one.regression.mae
        return f"{mae.value:.4g} [{mae.low:.4g}, {mae.high:.4g}]"
    if one.detection:
        return percent(one.detection.map50)
    return "-"


def _against(one: Variant, report: Report) -> tuple[str, str]:
    other = reference_of(one, report)
    if other is None:
        return "-", ""
    ratio = report.compare(one.id, other.id).speed
    return _interval(ratio.latency), word(ratio)


def word(ratio: SpeedRatio) -> str:
    """`faster`, `slower` or `same`."""
    if is_faster(ratio):
        return "faster"
    return "slower" if is_slower(ratio) else "same"


def _speeds(report: Report) -> TextTable:
    method = report.method
    several, paced = len(method.threads) > 1, method.rate_hz is not None
    rows = []
    for one in report.variants:
        for speed in one.speeds:
            latency = speed.latency_us
            cells = [one.name, *([str(speed.threads)] if several else [])]
            cells += [f"{us:.0f}" for us in (latency.min, latency.p50, latency.p90, latency.p99)]
            cells.append(f"{speed.engine_us.p50:.0f}")
            if speed.paced_us and speed.late is not None:
                cells += [f"{us:.0f}" for us in (speed.paced_us.p50, speed.paced_us.p99)]
                cells.append(f"{100 * speed.late:.0f}")
            rows.append(tuple(cells))
    paced_headings = [f"paced\n{q}" for q in ("p50", "p99", "late %")] if paced else []
    pace = f" paced: {method.rate_hz:g} calls a second." if paced else ""
    return TextTable(
        "Latency in µs",
        (
            "variant",
            *(["threads"] if several else []),
            *("min", "p50", "p90", "p99", "engine\np50"),
            *paced_headings,
        ),
        tuple(rows),
        f"{method.rounds} rounds in {method.processes} processes, variants interleaved in random "
        f"order; clock {method.clock}, {method.timer_overhead_ns:.0f} ns a reading. engine: "
        f"without encoding the input and reading the answer.{pace}",
    )


def _throughputs(report: Report) -> TextTable:
    several = len(report.method.threads) > 1
    rows = []
    for one in report.variants:
        for speed in one.speeds:
            threads = [str(speed.threads)] if several else []
            rates = (f"{rate.samples_per_s:,.0f}" for rate in speed.throughput)
            rows.append((one.name, *threads, *rates))
    sizes = (f"batch {size}" for size in report.method.batches)
    return TextTable(
        "Throughput in samples/s",
        ("variant", *(["threads"] if several else []), *sizes),
        tuple(rows),
        "From raw inputs to probabilities or values, of the median call.",
    )


def _starts(report: Report) -> TextTable:
    rows = []
    for one in report.variants:
        start = one.cold_start
        if start:
            parts = (
                start.interpreter_ms,
                start.import_ms,
                start.load_ms,
                start.first_ms,
            )
            total, peak = start.start_ms, start.peak_rss_bytes
            rows.append(
                (
                    one.name,
                    *(f"{part.value:.0f}" for part in parts),
                    f"{total.value:.0f} [{total.low:.0f}, {total.high:.0f}]",
                    f"{peak.value / 1e6:.1f} [{peak.low / 1e6:.1f}, {peak.high / 1e6:.1f}]",
                )
            )
    return TextTable(
        "Cold start in ms",
        (
            "variant",
            "interpreter",
            "import",
            "load",
            "first\ncall",
            "total\n[range]",
            "peak MB\n[range]",
        ),
        tuple(rows),
        f"Median of {report.method.cold_starts} fresh processes. import: the runtime and numpy; "
        "load: the bundle and the engine, its own import included.",
    )


def operators_table(profile: Profile, report: Report) -> TextTable:
    """Where a variant's time goes, operator by operator."""
    (one,) = (variant for variant in report.variants if variant.id == profile.variant)
    operators, shares = profile.operators, dict.fromkeys(("integer", "mixed", "float"), 0.0)
    for each in operators:
        shares[each.arithmetic] += each.share or 0.0
    if not operators:
        note = f"{one.engine_version} does not tell which operators it runs."
    elif all(each.time_us is None for each in operators):
        note = f"The Python face of {one.engine_version} names its operators, but times none."
    else:
        parts = ", ".join(f"{100 * share:.0f} % {kind}" for kind, share in shares.items() if share)
        note = f"{parts}. Mean of {profile.calls} calls, the slowest tenth left out, by the "
        note += "engine's own profiler, which slows them and may count whole microseconds."
    return TextTable(
        f"Where the time goes: {one.name}",
        ("operator", "kind", "arithmetic", "µs", "share %"),
        tuple(
            (
                _shortened(each.name),
                each.kind,
                each.arithmetic,
                "-" if each.time_us is None else f"{each.time_us:.1f}",
                "-" if each.share is None else f"{100 * each.share:.1f}",
            )
            for each in operators
        ),
        note,
    )


def _shortened(name: str) -> str:
    """Names of operators may be paths; their ends tell them apart."""
    return name if len(name) <= MAX_NAME else f"…{name[1 - MAX_NAME :]}"


def _interval(ratio: Estimate) -> str:
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
