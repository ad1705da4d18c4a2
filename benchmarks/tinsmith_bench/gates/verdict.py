"""What the numbers mean, in plain words: what to ship, and what int8 gains and loses here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tinsmith_bench.report_data import Comparison, Detection, Report, Variant
from tinsmith_bench.stats.difference import (
    MEMORY_MARGIN,
    are_apart,
    differences,
    is_accuracy_changed,
    is_error_changed,
    is_faster,
    is_map_changed,
    is_slower,
    points_interval,
)
from tinsmith_bench.stats.significance import with_significance

# The drop at which `tinsmith export` fails by default: a variant that loses more is not shipped.
MAX_DROP = 0.005
# Errors of values that grow by no more are as good: of a regressor's mean absolute error.
MAX_ERROR_GROWTH = 1.02

# Of a detector's mAP@0.5, likewise.
MAX_MAP_DROP = 0.01

Pairs = Mapping[tuple[str, str], Comparison]


def judged(report: Report) -> Report:
    """A report with what chance explains, and the verdict made of that, whatever it had before."""
    report = with_significance(report)
    return replace(report, verdict=verdict(report))


def verdict(report: Report) -> tuple[str, ...]:
    """Says what to ship, then what int8 gains and loses against float, then how bundles differ.

    Competitors are in no bundle, so they cannot be shipped.

    Returns:
        A paragraph on what to ship, one for each int8 variant of a bundle that has a float one, on
        its engine or another, and one for each bundle after the first.
    """
    variants, bundles = report.variants, {bundle.name for bundle in report.bundles}
    pairs = {(pair.candidate, pair.baseline): pair for pair in report.comparisons}
    pairs |= {
        (back.candidate, back.baseline): back
        for back in map(Comparison.inverse, report.comparisons)
    }
    by_id = {variant.id: variant for variant in variants}
    paragraphs = [_ship([one for one in variants if one.bundle in bundles], pairs)]
    for one in variants:
        other = by_id[one.fidelity.baseline] if one.fidelity else None
        if other:
            paragraphs.append(_against_float(one, other, pairs[one.id, other.id]))
    return *paragraphs, *_bundles(variants, pairs)


def _against_float(int8: Variant, other: Variant, pair: Comparison) -> str:
    sentences = (
        _speed(int8, other, pair),
        _size(int8, other),
        _memory(int8, other),
        _quality(int8, other, pair),
    )
    against = "" if other.engine == int8.engine else f", against {other.name}"
    return f"{int8.name}{against}: {' '.join(filter(None, sentences))}"


def _speed(int8: Variant, other: Variant, pair: Comparison) -> str:
    ratio = pair.speed.latency
    mine, its = int8.speed.latency_us, other.speed.latency_us
    times = f"p50 {mine.p50:.0f} µs, float {its.p50:.0f} µs"
    interval = f"95 % interval {ratio.low:.2f} to {ratio.high:.2f}"
    if is_slower(pair.speed):
        return (
            f"int8 does not pay in speed here: it takes {ratio.value:.2f} times as long as float "
            f"({times}; {interval})."
        )
    if is_faster(pair.speed):
        return f"int8 takes {ratio.value:.2f} of float's time ({times}; {interval})."
    return (
        f"int8 is as fast as float within noise ({times}; ratio {ratio.value:.2f}, {interval}, "
        f"of the fastest calls {pair.speed.fastest:.2f})."
    )


def _size(int8: Variant, other: Variant) -> str:
    ratio = other.size_bytes / int8.size_bytes
    change = f"{ratio:.1f} times smaller" if ratio >= 1 else f"{1 / ratio:.1f} times larger"
    sizes = f"{int8.size_bytes / 1e3:.1f} kB, float {other.size_bytes / 1e3:.1f}"
    return f"The file is {change} ({sizes})."


def _memory(int8: Variant, other: Variant) -> str:
    if not int8.cold_start or not other.cold_start:
        return ""
    mine, its = int8.cold_start.peak_rss_bytes, other.cold_start.peak_rss_bytes
    peaks = f"{mine.value / 1e6:.1f} MB, float {its.value / 1e6:.1f}"
    if are_apart(mine, its, MEMORY_MARGIN):
        word = "less" if mine.value < its.value else "more"
        return f"It needs {abs(mine.value - its.value) / 1e6:.1f} MB {word} memory ({peaks})."
    return f"Memory is the same within noise or 1 % ({peaks})."


def _quality(int8: Variant, other: Variant, pair: Comparison) -> str:
    if int8.accuracy and other.accuracy:
        return _accuracy(int8, other, pair)
    if int8.regression and other.regression and pair.mae_ratio:
        ratio = pair.mae_ratio
        word = "changes by" if is_error_changed(pair) else "is the same within noise:"
        return (
            f"The mean absolute error {word} a factor of {ratio.value:.3f} "
            f"(95 % interval {ratio.low:.3f} to {ratio.high:.3f})."
        )
    if int8.detection and other.detection and pair.map50_change:
        return _boxes(int8.detection, other.detection, pair)
    fidelity = int8.fidelity
    if fidelity and fidelity.agreement:
        share = fidelity.agreement
        return (
            f"Without labels only agreement can be told: {100 * share.value:.2f} % of the samples "
            f"get float's class (95 % interval {100 * share.low:.2f} to {100 * share.high:.2f})."
        )
    if fidelity:
        noise = "no difference" if fidelity.sqnr_db is None else f"SQNR {fidelity.sqnr_db:.1f} dB"
        worst = ", at worst" if fidelity.outputs else ""
        return f"Its outputs against float's{worst}: {noise}, cosine {fidelity.cosine:.5f}."
    return ""


def _accuracy(int8: Variant, other: Variant, pair: Comparison) -> str:
    assert int8.accuracy
    assert other.accuracy
    mine, its = int8.accuracy.top1.value, other.accuracy.top1.value
    levels = f"{100 * mine:.2f} %, float {100 * its:.2f} %"
    if pair.lost == pair.won == 0:
        return f"Accuracy is the same on every sample ({levels})."
    noun = "sample" if pair.lost == 1 else "samples"
    flips = f"{pair.lost} {noun} lost, {pair.won} won, McNemar p = {pair.mcnemar_p:.2g}"
    if not is_accuracy_changed(pair):
        return f"Accuracy is the same within noise ({levels}; {flips})."
    word = "loses" if mine < its else "gains"
    return f"It {word} {100 * abs(mine - its):.2f} points of accuracy ({levels}; {flips})."


def _boxes(mine: Detection, its: Detection, pair: Comparison) -> str:
    assert pair.map50_change
    change = pair.map50_change
    levels = f"{100 * mine.map50.value:.2f} %, float {100 * its.map50.value:.2f} %"
    words = f"{levels}; {points_interval(change)} points"
    if not is_map_changed(pair):
        return f"mAP@0.5 is the same within noise ({words})."
    word = "loses" if change.value < 0 else "gains"
    return f"It {word} {100 * abs(change.value):.2f} points of mAP@0.5 ({words})."


def _ship(variants: Sequence[Variant], pairs: Pairs) -> str:
    """Of the variants that are accurate enough the fastest; of those as fast, the smallest."""
    best = max(variants, key=_goodness)
    barred = [one for one in variants if _loses(one, best, pairs, MAX_DROP)]
    accurate = [one for one in variants if one not in barred]
    fastest = min(accurate, key=lambda one: one.speed.latency_us.p50)
    as_fast = [
        one for one in accurate if one is fastest or not is_slower(pairs[one.id, fastest.id].speed)
    ]
    pick = min(as_fast, key=lambda one: one.size_bytes)
    others = " and ".join(one.name for one in as_fast if one is not pick)
    smaller = all(pick.size_bytes < one.size_bytes for one in as_fast if one is not pick)
    reason = (
        f"as fast as {others} within noise{', and smaller' * smaller}" if others else "the fastest"
    )
    known = f", accuracy {100 * pick.accuracy.top1.value:.2f} %" if pick.accuracy else ""
    if pick.detection:
        known = f", mAP@0.5 {100 * pick.detection.map50.value:.2f} %"
    sentences = [
        f"On this machine ship {pick.name} ({pick.file}), {reason}: p50 "
        f"{pick.speed.latency_us.p50:.0f} µs, {pick.size_bytes / 1e3:.1f} kB{known}."
    ]
    sentences += _gain(pick, variants, pairs)
    if pick.accuracy and best.accuracy and _loses(pick, best, pairs, 0):
        points = 100 * (best.accuracy.top1.value - pick.accuracy.top1.value)
        sentences.append(f"Its price is {points:.2f} points of accuracy against {best.name}.")
    if barred:
        names = " and ".join(one.name for one in barred)
        what = f"{100 * MAX_DROP:.1f} points less accurate" if best.accuracy else "2 % more error"
        what = f"{100 * MAX_MAP_DROP:.0f} point less mAP@0.5" if best.detection else what
        sentences.append(f"More than {what}: {names}.")
    int8 = [one for one in variants if one.precision == "int8"]
    if pick.precision == "float" and int8:
        sentences.append("No int8 variant keeps up with it, so int8 does not pay here.")
        small = min(int8, key=lambda one: one.size_bytes)
        saved = (pick.size_bytes - small.size_bytes) / 1e3
        if saved > 0:
            sentences.append(f"{small.name} saves {saved:.1f} kB, where those matter more.")
    return " ".join(sentences)


def _gain(pick: Variant, variants: Sequence[Variant], pairs: Pairs) -> list[str]:
    """By how much int8 is faster than the fastest float variant, if it is."""
    floats = [one for one in variants if one.precision == "float"]
    if pick.precision == "float" or not floats:
        return []
    other = min(floats, key=lambda one: one.speed.latency_us.p50)
    speed = pairs[pick.id, other.id].speed
    if not is_faster(speed):
        return []
    ratio = speed.latency
    return [
        f"int8 pays here: it takes {ratio.value:.2f} of the time of {other.name}, the fastest "
        f"float variant (95 % interval {ratio.low:.2f} to {ratio.high:.2f})."
    ]


def _goodness(one: Variant) -> float:
    if one.accuracy:
        return one.accuracy.correct
    if one.detection:
        return one.detection.map50.value
    return -one.regression.mae.value if one.regression else 0


def _loses(one: Variant, best: Variant, pairs: Pairs, drop: float) -> bool:
    """Whether a variant is worse than the best one, beyond chance and by more than `drop`."""
    if one is best:
        return False
    pair = pairs[one.id, best.id]
    if one.accuracy and best.accuracy:
        worse = best.accuracy.top1.value - one.accuracy.top1.value > drop
        return worse and is_accuracy_changed(pair)
    if pair.map50_change:
        return -pair.map50_change.value > MAX_MAP_DROP and is_map_changed(pair)
    return bool(
        pair.mae_ratio and pair.mae_ratio.value > MAX_ERROR_GROWTH and is_error_changed(pair)
    )


def _bundles(variants: Sequence[Variant], pairs: Pairs) -> Iterator[str]:
    """How each bundle after the first differs from it, variant by variant."""
    names = list(dict.fromkeys(one.bundle for one in variants))
    for name in names[1:]:
        for one in variants:
            for other in variants:
                kind = (other.bundle, other.engine, other.precision)
                if one.bundle == name and kind == (names[0], one.engine, one.precision):
                    found = differences(one, other, pairs[one.id, other.id])
                    texts = "; ".join(difference.text for difference in found)
                    yield f"{one.name} against {other.name}: {texts or 'no difference'}."
