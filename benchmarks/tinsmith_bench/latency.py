"""How fast variants are next to each other: short blocks, interleaved in random order.

On a machine that does other things too, whoever is measured last meets another machine than
whoever is measured first. So every round measures a block of every variant, in a new random
order, and intervals are drawn over rounds: what slows one round down slows all variants.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.accuracy import Estimate

Predict = Callable[[NDArray[np.uint8]], Any]

# The first calls of a block find the caches full of the variant before; they are not counted.
LEAD_CALLS = 3
# Warm-up goes on while a block is at least 5 % faster than the best before it, for 20 at most:
# beyond that a clock that drifts by itself would keep it going for ever.
STEADY = 0.95
WARM_UP_BLOCKS = 20
RESAMPLES = 1000


@dataclass(frozen=True)
class Latency:
    """The distribution of one variant's single-image latencies, in microseconds."""

    min: float
    p50: float
    p90: float
    p99: float
    samples: int


def summarize(nanoseconds: NDArray[np.int64]) -> Latency:
    """Summarizes timings of any shape, in ns; percentiles interpolate linearly."""
    p50, p90, p99 = (float(p) / 1e3 for p in np.percentile(nanoseconds, (50, 90, 99)))
    return Latency(float(nanoseconds.min()) / 1e3, p50, p90, p99, nanoseconds.size)


def interleave(
    names: Sequence[str], rounds: int, rng: np.random.Generator
) -> Iterator[tuple[int, str]]:
    """Yields `(round, name)`: every name once a round, in a new random order each round."""
    for number in range(rounds):
        for index in rng.permutation(len(names)):
            yield number, names[index]


def time_block(predict: Predict, batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """Times one call a batch, in ns, with the garbage collector out of the way."""
    nanoseconds = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for batch in batches:
            start = perf_counter_ns()
            predict(batch)
            nanoseconds.append(perf_counter_ns() - start)
    finally:
        if collecting:
            gc.enable()
    return np.array(nanoseconds, np.int64)


def warm_up(predict: Predict, batches: Sequence[NDArray[np.uint8]]) -> int:
    """Calls `predict` in blocks until they stop getting faster; returns how many blocks it took."""
    best = np.inf
    for block in range(1, WARM_UP_BLOCKS + 1):
        p50 = float(np.median(time_block(predict, batches)))
        if p50 > STEADY * best:
            return block
        best = p50
    return WARM_UP_BLOCKS


def measure(
    variants: Mapping[str, Predict],
    images: NDArray[np.uint8],
    *,
    batch: int,
    calls: int,
    rounds: int,
    rng: np.random.Generator,
    watch: Callable[[int, int], None],
) -> dict[str, NDArray[np.int64]]:
    """Times variants side by side, after a warm-up, on batches drawn from real images.

    Args:
        variants: the function to time, by the variant's name.
        images: `uint8 (N, H, W, C)` to draw from; in a round all variants get the same ones.
        batch: how many images a call gets.
        calls: how many calls of each variant a round times.
        rounds: how many rounds.
        rng: decides the order and the images.
        watch: is told after each block how many are done, and of how many.

    Returns:
        For each name the duration of every call in ns, `int64 (rounds, calls)`.
    """
    picks = rng.integers(len(images), size=(rounds, LEAD_CALLS + calls, batch))
    for predict in variants.values():
        warm_up(predict, [images[pick] for pick in picks[0]])
    timings = {name: np.empty((rounds, calls), np.int64) for name in variants}
    order = interleave(list(variants), rounds, rng)
    for done, (number, name) in enumerate(order, start=1):
        block = time_block(variants[name], [images[pick] for pick in picks[number]])
        timings[name][number] = block[LEAD_CALLS:]
        watch(done, rounds * len(variants))
    return timings


def p50_ratio(
    candidate: NDArray[np.int64], baseline: NDArray[np.int64], rng: np.random.Generator
) -> Estimate:
    """Ratio of two p50s with its bootstrap interval at 95 %, drawn over rounds.

    Whole rounds are drawn, the same for both, since timings within a round are not independent.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 (blocks) and
    13 (percentile interval).

    Args:
        candidate: timings `(rounds, calls)` from `measure`.
        baseline: timings of the same shape, from the same rounds.
        rng: draws the rounds.
    """
    rounds = len(candidate)
    draws = rng.integers(rounds, size=(RESAMPLES, rounds))
    ratios = [np.median(candidate[draw]) / np.median(baseline[draw]) for draw in draws]
    low, high = (float(end) for end in np.percentile(ratios, (2.5, 97.5)))
    return Estimate(float(np.median(candidate) / np.median(baseline)), low, high)
