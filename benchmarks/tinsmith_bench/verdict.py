"""What the numbers mean, in plain words: what int8 gains and loses here, and what to ship."""

from collections.abc import Iterable, Mapping, Sequence

from tinsmith_bench.report import ENGINE_NAMES, Comparison, Row

# Where a model happens to lie in memory makes it faster or slower for a whole run, and no interval
# drawn over that run shows it. The same model loaded three times, 72 pairs: 1 in 9 intervals
# left out a ratio of 1, by up to 1.3 %. Beyond 3 % none did, so nothing below is a difference.
SPEED_MARGIN = 0.03
# Less likely by chance than 1 in 20 is called a difference: McNemar's p, and every interval.
SIGNIFICANT = 0.05
# The drop at which `tinsmith export` fails by default: a variant that loses more is not shipped.
MAX_DROP = 0.005


def verdict(rows: Sequence[Row], comparisons: Iterable[Comparison]) -> tuple[str, ...]:
    """Says for each engine what int8 gains and loses against float, then what to ship.

    Args:
        rows: what was measured, at least one.
        comparisons: every row's file against every other's.

    Returns:
        One paragraph an engine that has both variants, and a last one on what to ship.
    """
    pairs = {(pair.candidate, pair.baseline): pair for pair in comparisons}
    paragraphs = []
    for backend in ENGINE_NAMES:
        found = {row.precision: row for row in rows if row.backend == backend}
        if {"int8", "float"} <= found.keys():
            int8, other = found["int8"], found["float"]
            paragraphs.append(_engine(int8, other, pairs[int8.file, other.file]))
    return *paragraphs, _ship(rows, pairs)


def is_faster(pair: Comparison) -> bool:
    """Whether the candidate is faster than the baseline by more than noise.

    Load from outside does not slow all variants by the same factor: p50s were seen to say 1.20 in
    a whole run where a quiet machine says 0.95. The fastest calls must say the same, therefore.
    """
    return pair.p50_ratio.high < 1 - SPEED_MARGIN and pair.min_ratio < 1


def is_slower(pair: Comparison) -> bool:
    """Whether the candidate is slower than the baseline by more than noise; see `is_faster`."""
    return pair.p50_ratio.low > 1 + SPEED_MARGIN and pair.min_ratio > 1


def _engine(int8: Row, other: Row, pair: Comparison) -> str:
    return (
        f"{ENGINE_NAMES[int8.backend]}: {_speed(int8, other, pair)} "
        f"{_size(int8, other)} {_memory(int8, other)} {_accuracy(int8, other, pair)}"
    )


def _speed(int8: Row, other: Row, pair: Comparison) -> str:
    ratio = pair.p50_ratio
    times = f"p50 {int8.latency_us.p50:.0f} µs, float {other.latency_us.p50:.0f} µs"
    interval = f"95 % interval {ratio.low:.2f} to {ratio.high:.2f}"
    if is_slower(pair):
        return (
            f"int8 does not pay in speed here: it takes {ratio.value:.2f} times as long as float "
            f"({times}; {interval})."
        )
    if is_faster(pair):
        return f"int8 takes {ratio.value:.2f} of float's time ({times}; {interval})."
    return (
        f"int8 is as fast as float within noise ({times}; ratio {ratio.value:.2f}, {interval}, "
        f"of the fastest calls {pair.min_ratio:.2f})."
    )


def _size(int8: Row, other: Row) -> str:
    ratio = other.size_bytes / int8.size_bytes
    change = f"{ratio:.1f} times smaller" if ratio >= 1 else f"{1 / ratio:.1f} times larger"
    sizes = f"{int8.size_bytes / 1e3:.1f} kB, float {other.size_bytes / 1e3:.1f}"
    return f"The file is {change} ({sizes})."


def _memory(int8: Row, other: Row) -> str:
    mine, its = int8.cold_start.peak_rss_bytes, other.cold_start.peak_rss_bytes
    peaks = f"{mine.value / 1e6:.1f} MB, float {its.value / 1e6:.1f}"
    # Ranges of five runs each lie apart by chance 1 time in 126; what is apart by less than 1 %
    # is real, then, but nothing to choose a model by.
    if mine.high < 0.99 * its.low or its.high < 0.99 * mine.low:
        word = "less" if mine.value < its.value else "more"
        return f"It needs {abs(mine.value - its.value) / 1e6:.1f} MB {word} memory ({peaks})."
    return f"Memory is the same within noise or 1 % ({peaks})."


def _accuracy(int8: Row, other: Row, pair: Comparison) -> str:
    levels = f"{100 * int8.accuracy.value:.2f} %, float {100 * other.accuracy.value:.2f} %"
    if pair.lost == pair.won == 0:
        return f"Accuracy is the same on every image ({levels})."
    points = 100 * abs(int8.accuracy.value - other.accuracy.value)
    flips = f"{pair.lost} images lost, {pair.won} won, McNemar p = {pair.mcnemar_p:.2g}"
    if pair.mcnemar_p >= SIGNIFICANT:
        return f"Accuracy is the same within noise ({levels}; {flips})."
    word = "loses" if pair.lost > pair.won else "gains"
    return f"It {word} {points:.2f} points of accuracy ({levels}; {flips})."


def _ship(rows: Sequence[Row], pairs: Mapping[tuple[str, str], Comparison]) -> str:
    """Of the variants that are accurate enough the fastest; of those as fast, the smallest."""
    best = max(rows, key=lambda row: row.correct)
    barred = [row for row in rows if _loses(row, best, pairs, MAX_DROP)]
    accurate = [row for row in rows if row not in barred]
    fastest = min(accurate, key=lambda row: row.latency_us.p50)
    as_fast = [row for row in accurate if not _is_slower_than(row, fastest, pairs)]
    pick = min(as_fast, key=lambda row: row.size_bytes)
    others = " and ".join(row.name for row in as_fast if row is not pick)
    reason = f"as fast as {others} within noise, and smaller" if others else "the fastest"
    sentences = [
        f"On this machine ship {pick.name} ({pick.file}), {reason}: p50 "
        f"{pick.latency_us.p50:.0f} µs, {pick.size_bytes / 1e3:.1f} kB, "
        f"accuracy {100 * pick.accuracy.value:.2f} %."
    ]
    if _loses(pick, best, pairs, 0):
        points = 100 * (best.accuracy.value - pick.accuracy.value)
        sentences.append(f"Its price is {points:.2f} points of accuracy against {best.name}.")
    if barred:
        names = " and ".join(row.name for row in barred)
        sentences.append(f"More than {100 * MAX_DROP:.1f} points less accurate: {names}.")
    int8 = [row for row in rows if row.precision == "int8"]
    if pick.precision == "float" and int8:
        sentences.append("No int8 variant keeps up with it, so int8 does not pay here.")
        small = min(int8, key=lambda row: row.size_bytes)
        saved = (pick.size_bytes - small.size_bytes) / 1e3
        if saved > 0:
            sentences.append(f"{small.name} saves {saved:.1f} kB, where those matter more.")
    return " ".join(sentences)


def _loses(row: Row, best: Row, pairs: Mapping[tuple[str, str], Comparison], drop: float) -> bool:
    """Whether a row is less accurate than the best one, beyond chance and by more than `drop`."""
    if row is best or best.accuracy.value - row.accuracy.value <= drop:
        return False
    return pairs[row.file, best.file].mcnemar_p < SIGNIFICANT


def _is_slower_than(row: Row, fastest: Row, pairs: Mapping[tuple[str, str], Comparison]) -> bool:
    return row is not fastest and is_slower(pairs[row.file, fastest.file])
