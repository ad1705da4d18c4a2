"""How fast variants are next to each other: short turns, interleaved in random order.

On a machine that does other things too, whoever is measured last meets another machine than
whoever is measured first. So in every round each variant gets a turn, in a new random order, and
ratios are taken round by round: what slows one round down slows all variants.

Where a process happens to lie in memory makes an engine faster or slower too, by a percent or so
for as long as the process lives. So every few rounds are measured in a process of their own, and
intervals are drawn over processes.
"""

import gc
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Latency, Method
from tinsmith_bench.target import Runner, Target
from tinsmith_bench.timing.child import run_python, send_answer
from tinsmith_bench.timing.timings import Key, Timings, dump_timings, parse_timings
from tinsmith_runtime.batch import Arrays, count, rows

# The first calls of a turn find the caches full of the variant before; they are not counted.
LEAD_CALLS = 3
# A turn lasts about so long, but at least and at most so many calls.
TURN_NS = 10_000_000
MIN_CALLS, MAX_CALLS = 5, 50
# Warm-up goes on while a block is at least 5 % faster than the best before it, for 20 at most:
# beyond that a clock that drifts by itself would keep it going for ever.
STEADY = 0.95
WARM_UP_BLOCKS, WARM_UP_CALLS = 20, 10
# Calls of each batch size in each process; one more before them is not counted.
BATCH_CALLS = 3
# Calls of each variant at a fixed rate in each process.
PACED_CALLS = 5
# A process draws from so many inputs: enough that none of them is special.
POOL = 256

Call = Callable[[Any], object]
Watch = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""

T = TypeVar("T")


def measure(
    targets: Sequence[Target],
    inputs: Arrays,
    method: Method,
    watch: Watch,
    limit_s: float,
) -> dict[Key, Timings]:
    """Times variants side by side on real inputs, in several processes one after the other.

    Args:
        targets: what to time.
        inputs: raw inputs `(N, ...)` to draw from.
        method: processes, rounds, threads, batches and rate.
        watch: is told how far it is.
        limit_s: when a process counts as hung.

    Returns:
        The timings of every variant with every number of threads.

    Raises:
        TinsmithError: a process failed.
    """
    timings = {(one.id, threads): Timings() for threads in method.threads for one in targets}
    for number in range(method.processes):
        seed = (method.seed, number)
        picks = np.random.default_rng(seed).integers(count(inputs), size=POOL)
        pool = rows(inputs, picks)
        for key, found in run_process(targets, pool, method, seed, limit_s).items():
            timings[key].extend(found)
        watch("speed", number + 1, method.processes)
    return timings


def run_process(
    targets: Sequence[Target],
    inputs: Arrays,
    method: Method,
    seed: tuple[int, ...],
    limit_s: float,
) -> dict[Key, Timings]:
    """Does `measure_rounds` in a fresh process."""
    what = "the timing process"
    # The child can trust this pickle; what comes back, from a process that ran models, is parsed.
    sent = pickle.dumps((list(targets), inputs, method, seed))
    said = run_python(["-m", "tinsmith_bench.timing.latency"], what, limit_s, sent)
    return parse_timings(said, [one.id for one in targets], method, what)


def measure_rounds(
    targets: Sequence[Target], inputs: Arrays, method: Method, seed: tuple[int, ...]
) -> dict[Key, Timings]:
    """Times the rounds of one process; in a round all variants get the same inputs.

    Args:
        targets: what to time.
        inputs: raw inputs `(N, ...)` to draw from.
        method: rounds a process, threads, batches and rate.
        seed: of the order and the inputs.
    """
    rng = np.random.default_rng(seed)
    openers = {(one.id, threads): one.open for threads in method.threads for one in targets}
    timings = {key: Timings() for key in openers}
    with ExitStack() as stack:
        runners = {key: open_runner(key[1]) for key, open_runner in openers.items()}
        for runner in runners.values():
            stack.callback(runner.close)
        turns = {(key, way): turn for key, runner in runners.items() for way, turn in _ways(runner)}
        first = rows(inputs, slice(WARM_UP_CALLS))
        calls = {name: _calls(turn, first) for name, turn in turns.items()}
        shape = (method.rounds_per_process, LEAD_CALLS + MAX_CALLS)
        picks = rng.integers(count(inputs), size=shape)
        for number, name in interleave(list(turns), method.rounds_per_process, rng):
            key, way = name
            samples = rows(inputs, picks[number][: LEAD_CALLS + calls[name]])
            getattr(timings[key], way).append(time_turn(turns[name], samples))
        _time_batches(runners, timings, inputs, method, rng)
        if method.rate_hz:
            for _, key in interleave(list(runners), 1, rng):
                samples = rows(inputs, rng.integers(count(inputs), size=PACED_CALLS))
                paced = time_paced(runners[key].answer, _singles(samples), method.rate_hz)
                timings[key].paced.append(paced)
    return timings


def _time_batches(
    runners: Mapping[Key, Runner],
    timings: Mapping[Key, Timings],
    inputs: Arrays,
    method: Method,
    rng: np.random.Generator,
) -> None:
    names = [(key, size) for key in runners for size in method.batches]
    for _, (key, size) in interleave(names, 1, rng):
        picks = rng.integers(count(inputs), size=(1 + BATCH_CALLS, size))
        durations = time_calls(runners[key].predict, [rows(inputs, pick) for pick in picks])
        timings[key].batches.setdefault(size, []).append(durations[1:])


@dataclass(frozen=True)
class _Turn:
    """A function to time, and what it is given for one raw sample."""

    call: Call
    prepare: Call


def _ways(runner: Runner) -> Iterator[tuple[str, _Turn]]:
    yield "latency", _Turn(runner.answer, lambda sample: sample)
    yield "engine", _Turn(runner.run, lambda sample: runner.encode(rows(sample, np.newaxis)))


def _singles(samples: Arrays) -> list[Arrays]:
    """Each sample by itself, without the batch axis."""
    return [rows(samples, number) for number in range(count(samples))]


def _calls(turn: _Turn, samples: Arrays) -> int:
    """Warms up, and says how many calls a turn has."""
    p50_ns = warm_up(turn.call, list(map(turn.prepare, _singles(samples))))
    return int(np.clip(TURN_NS / max(1.0, p50_ns), MIN_CALLS, MAX_CALLS))


def time_turn(turn: _Turn, samples: Arrays) -> NDArray[np.int64]:
    """Times one call a sample, in ns, but for the first `LEAD_CALLS`."""
    return time_calls(turn.call, list(map(turn.prepare, _singles(samples))))[LEAD_CALLS:]


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


def warm_up(call: Call, arguments: Sequence[Any]) -> float:
    """Calls in blocks until they stop getting faster; gives the best block's median in ns."""
    best = np.inf
    for _ in range(WARM_UP_BLOCKS):
        p50_ns = float(np.median(time_calls(call, arguments)))
        if p50_ns > STEADY * best:
            break
        best = p50_ns
    return best


def interleave(
    names: Sequence[T], rounds: int, rng: np.random.Generator
) -> Iterator[tuple[int, T]]:
    """Yields `(round, name)`: every name once a round, in a new random order each round."""
    for number in range(rounds):
        for index in rng.permutation(len(names)):
            yield number, names[index]


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


if __name__ == "__main__":
    found = measure_rounds(*pickle.load(sys.stdin.buffer))
    send_answer(sys.argv[1], dump_timings(found))
