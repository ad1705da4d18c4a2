"""Raw timings of variants, and how the process that took them sends them to the one that asked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Method
from tinsmith_bench.timing.child import parse_answer
from tinsmith_runtime import TinsmithError
from tinsmith_runtime.record import Rule

Key = tuple[str, int]
"""A variant's id and the number of its threads."""


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

    def extend(self, other: "Timings") -> None:
        """Adds the timings of another process."""
        self.latency += other.latency
        self.engine += other.engine
        self.paced += other.paced
        for size, durations in other.batches.items():
            self.batches[size] = self.batches.get(size, []) + durations


_Turn = Annotated[
    tuple[int, ...], Rule("durations of 0 ns or more", lambda turn: turn and min(turn) >= 0)
]
_Turns = tuple[_Turn, ...]


@dataclass(frozen=True)
class _Timed:
    """`Timings` of one variant with one number of threads, as they are sent."""

    variant: str
    threads: int
    latency: _Turns
    engine: _Turns
    batches: tuple[tuple[int, _Turns], ...]
    paced: _Turns


@dataclass(frozen=True)
class _Answer:
    """All that one process timed."""

    timed: tuple[_Timed, ...]


def dump_timings(found: Mapping[Key, Timings]) -> bytes:
    """Writes what `parse_timings` reads."""
    timed = [
        {
            "variant": variant,
            "threads": threads,
            "latency": _lists(timings.latency),
            "engine": _lists(timings.engine),
            "batches": [[size, _lists(turns)] for size, turns in timings.batches.items()],
            "paced": _lists(timings.paced),
        }
        for (variant, threads), timings in found.items()
    ]
    return json.dumps({"timed": timed}).encode()


def parse_timings(
    answer: bytes, variants: Sequence[str], method: Method, what: str
) -> dict[Key, Timings]:
    """Reads the timings of one process.

    Args:
        answer: what `dump_timings` wrote.
        variants: the ids of all that were to be timed.
        method: how.
        what: names the work in an error.

    Raises:
        TinsmithError: it is no such answer, or lacks what was asked for.
    """
    timed = parse_answer(_Answer, answer, what)[0].timed
    found = {(one.variant, one.threads): one for one in timed}
    wanted = {(variant, threads) for variant in variants for threads in method.threads}
    rounds, paced = method.rounds_per_process, bool(method.rate_hz)
    complete = len(found) == len(timed) and found.keys() == wanted
    for one in timed:
        complete &= len(one.latency) == len(one.engine) == rounds and len(one.paced) == paced
        complete &= sorted(size for size, turns in one.batches if turns) == sorted(method.batches)
    if not complete:
        raise TinsmithError(f"{what} gave other timings than it was asked for")
    return {
        key: Timings(
            _arrays(one.latency),
            _arrays(one.engine),
            {size: _arrays(turns) for size, turns in one.batches},
            _arrays(one.paced),
        )
        for key, one in found.items()
    }


def _lists(arrays: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    return [array.tolist() for array in arrays]


def _arrays(turns: _Turns) -> list[NDArray[np.int64]]:
    return [np.array(turn, np.int64) for turn in turns]
