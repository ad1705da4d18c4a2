"""How fast variants are next to each other: short turns, interleaved in random order.

On a machine that does other things too, whoever is measured last meets another machine than
whoever is measured first. So in every round each variant gets a turn, in a new random order, and
ratios are taken round by round: what slows one round down slows all variants. Where a model
happens to lie in memory makes it faster or slower too, so every few rounds all are loaded afresh.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.candidate import Array, Candidate, Runner
from tinsmith_bench.report import Latency, Method

# The first calls of a turn find the caches full of the variant before; they are not counted.
LEAD_CALLS = 3
# A turn lasts about so long, but at least and at most so many calls.
TURN_NS = 10_000_000
MIN_CALLS, MAX_CALLS = 5, 50
# Warm-up goes on while a block is at least 5 % faster than the best before it, for 20 at most:
# beyond that a clock that drifts by itself would keep it going for ever.
STEADY = 0.95
WARM_UP_BLOCKS, WARM_UP_CALLS = 20, 10
# Calls of each batch size after each load; one more before them is not counted.
BATCH_CALLS = 2
# Ticks of a variant's turn in the paced mode, and its turns.
PACED_CALLS, PACED_ROUNDS = 10, 10

Key = tuple[str, int]
"""A variant's id and the number of its threads."""

Call = Callable[[Any], object]
Watch = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""

T = TypeVar("T")


@dataclass(eq=False)
class Timings:
    """Durations in ns of one variant's calls with one number of threads.

    Attributes:
        latency: for each round those of single inputs, from raw input to answer.
        engine: for each round those of the engine alone.
        batches: those of batches, by their size.
        paced: those of single inputs at a fixed rate.
    """

    latency: list[NDArray[np.int64]] = field(default_factory=list)
    engine: list[NDArray[np.int64]] = field(default_factory=list)
    batches: dict[int, list[NDArray[np.int64]]] = field(default_factory=dict)
    paced: list[NDArray[np.int64]] = field(default_factory=list)


def measure(
    candidates: Sequence[Candidate], inputs: Array, method: Method, watch: Watch
) -> dict[Key, Timings]:
    """Times variants side by side on real inputs.

    Args:
        candidates: what to time.
        inputs: raw inputs `(N, ...)` to draw from; in a round all variants get the same ones.
        method: rounds, loads, threads, batches and rate.
        watch: is told how far it is.

    Returns:
        The timings of every variant with every number of threads.
    """
    rng = np.random.default_rng(method.seed)
    openers = {(one.id, count): one for count in method.threads for one in candidates}
    timings = {key: Timings(batches={size: [] for size in method.batches}) for key in openers}
    calls: dict[tuple[Key, str], int] = {}
    for done in range(0, method.rounds, method.rounds_per_load):
        with ExitStack() as stack:
            runners = {key: one.open(key[1]) for key, one in openers.items()}
            for runner in runners.values():
                stack.callback(runner.close)
            turns = {
                (key, way): turn
                for key, runner in runners.items()
                for way, turn in _ways(runner).items()
            }
            for turn_key, turn in turns.items():
                first = turn_key not in calls
                p50_ns = _warm_up(turn, inputs[:WARM_UP_CALLS], WARM_UP_BLOCKS if first else 1)
                calls.setdefault(turn_key, int(np.clip(TURN_NS / p50_ns, MIN_CALLS, MAX_CALLS)))
            for number, (key, way) in interleave(list(turns), method.rounds_per_load, rng):
                pick = _pick(inputs, calls[key, way], (method.seed, done + number))
                getattr(timings[key], way).append(time_turn(turns[key, way], pick))
            for _, (key, size) in interleave(
                [(key, size) for key in runners for size in method.batches], 1, rng
            ):
                pick = rng.integers(len(inputs), size=(1 + BATCH_CALLS, size))
                batches = [inputs[row] for row in pick]
                timings[key].batches[size].append(time_calls(runners[key].predict, batches)[1:])
            watch("speed", done + method.rounds_per_load, method.rounds)
            if method.rate_hz and done + method.rounds_per_load >= method.rounds:
                _pace(runners, timings, inputs, method, rng, watch)
    return timings


@dataclass(frozen=True)
class _Turn:
    """A function to time, and what it is given for one raw sample."""

    call: Call
    prepare: Call


def _ways(runner: Runner) -> dict[str, _Turn]:
    return {
        "latency": _Turn(runner.answer, lambda sample: sample),
        "engine": _Turn(runner.run, lambda sample: runner.encode(sample[np.newaxis])),
    }


def _pick(inputs: Array, calls: int, seed: tuple[int, int]) -> Array:
    """Draws the samples of a round's turn: the first ones are the same for every variant."""
    rng = np.random.default_rng(seed)
    return inputs[rng.integers(len(inputs), size=LEAD_CALLS + MAX_CALLS)[: LEAD_CALLS + calls]]


def time_turn(turn: _Turn, samples: Array) -> NDArray[np.int64]:
    """Times one call a sample, in ns, but for the first `LEAD_CALLS`."""
    return time_calls(turn.call, [turn.prepare(sample) for sample in samples])[LEAD_CALLS:]


def time_calls(call: Call, arguments: Iterable[Any]) -> NDArray[np.int64]:
    """Times one call an argument, in ns, with the garbage collector out of the way."""
    nanoseconds = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for argument in arguments:
            start = perf_counter_ns()
            call(argument)
            nanoseconds.append(perf_counter_ns() - start)
    finally:
        if collecting:
            gc.enable()
    return np.array(nanoseconds, np.int64)


def _warm_up(turn: _Turn, samples: Array, blocks: int) -> float:
    return warm_up(turn.call, [turn.prepare(sample) for sample in samples], blocks)


def warm_up(call: Call, arguments: Sequence[Any], blocks: int = WARM_UP_BLOCKS) -> float:
    """Calls in blocks until they stop getting faster; gives the best block's median in ns."""
    best = np.inf
    for _ in range(blocks):
        p50_ns = float(np.median(time_calls(call, arguments)))
        if p50_ns > STEADY * best:
            break
        best = p50_ns
    return max(1.0, best)


def interleave(
    names: Sequence[T], rounds: int, rng: np.random.Generator
) -> Iterator[tuple[int, T]]:
    """Yields `(round, name)`: every name once a round, in a new random order each round."""
    for number in range(rounds):
        for index in rng.permutation(len(names)):
            yield number, names[index]


def _pace(
    runners: Mapping[Key, Runner],
    timings: Mapping[Key, Timings],
    inputs: Array,
    method: Method,
    rng: np.random.Generator,
    watch: Watch,
) -> None:
    """Times single inputs that come at a fixed rate, as a camera's do; the core sleeps between."""
    assert method.rate_hz
    order = list(interleave(list(runners), PACED_ROUNDS, rng))
    for done, (_, key) in enumerate(order, start=1):
        answer = runners[key].answer
        picks = rng.integers(len(inputs), size=PACED_CALLS)
        timings[key].paced.append(time_paced(answer, list(inputs[picks]), method.rate_hz))
        watch("paced", done, len(order))


def time_paced(call: Call, arguments: Sequence[Any], rate_hz: float) -> NDArray[np.int64]:
    """Times one call an argument, in ns, begun so many times a second, or late after a slow one."""
    period_ns = 1e9 / rate_hz
    durations = []
    begin = perf_counter_ns()
    for number, argument in enumerate(arguments):
        wait_ns = begin + number * period_ns - perf_counter_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        durations.append(time_calls(call, [argument])[0])
    return np.array(durations, np.int64)


def summarize(rounds: Sequence[NDArray[np.int64]]) -> Latency:
    """Summarizes the timings of rounds, in ns; percentiles interpolate linearly."""
    everything = np.concatenate(rounds)
    percentiles = np.percentile(everything, np.arange(101)) / 1e3
    by_round = [np.percentile(row, (50, 90)) / 1e3 for row in rounds]
    return Latency(
        min=float(everything.min()) / 1e3,
        p50=_short(percentiles[50]),
        p90=_short(percentiles[90]),
        p99=_short(percentiles[99]),
        calls=everything.size,
        percentiles=tuple(map(_short, percentiles)),
        rounds_p50=tuple(_short(p50) for p50, _ in by_round),
        rounds_p90=tuple(_short(p90) for _, p90 in by_round),
    )


def _short(us: float) -> float:
    """To the nanosecond: no clock tells more."""
    return round(float(us), 3)


def clock() -> tuple[str, float]:
    """Names the clock, and measures the median time between two readings of it, in ns."""
    info = time.get_clock_info("perf_counter")
    overhead = np.diff([perf_counter_ns() for _ in range(2001)])
    name = info.implementation.removesuffix("()")
    return f"{name}, resolution {info.resolution * 1e9:.0f} ns", float(np.median(overhead))
