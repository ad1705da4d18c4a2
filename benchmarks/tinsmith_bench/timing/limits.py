"""How long a part of a benchmark may take before it counts as hung.

A limit is `START_S`, and `1 / BYTES_PER_S` for each byte of the models and the inputs, and `SLACK`
times what the part should take by what was measured before; `LONGEST_S` at most.
"""

from typing import Protocol

from tinsmith_bench.timing.latency import (
    BATCH_CALLS,
    LEAD_CALLS,
    MIN_CALLS,
    PACED_CALLS,
    TURN_NS,
    WARM_UP_BLOCKS,
    WARM_UP_CALLS,
)

# A Raspberry Pi with a cold disk needs some 5 s to start Python, numpy and an engine.
START_S = 120.0
# To read, to check and to prepare a model, on a slow card.
BYTES_PER_S = 200_000
# A machine does other things too, and more threads than cores may wait for each other.
SLACK = 20
LONGEST_S = 6 * 3600.0
# Around the engine, a call of Python's.
_CALL_S = 0.001
# TensorFlow starts slowly, and a route may train: on 5,000 images of 150 kB it took 1,000 s.
_MAKING_START_S = 600.0


class Plan(Protocol):
    """What `Options` and `Method` both say."""

    @property
    def rounds(self) -> int:
        """See `Method`."""

    @property
    def processes(self) -> int:
        """See `Method`."""

    @property
    def threads(self) -> tuple[int, ...]:
        """See `Method`."""

    @property
    def batches(self) -> tuple[int, ...]:
        """See `Method`."""

    @property
    def rate_hz(self) -> float | None:
        """See `Method`."""


def start_limit_s(size_bytes: int, sample_s: float = 0.0) -> float:
    """The limit of a fresh process that loads a model and predicts once.

    Args:
        size_bytes: of what it reads.
        sample_s: what one prediction should take, in seconds.
    """
    return min(LONGEST_S, START_S + size_bytes / BYTES_PER_S + SLACK * sample_s)


def timing_limit_s(plan: Plan, variants: int, size_bytes: int, sample_s: float) -> float:
    """The limit of one of the processes that time all variants.

    Args:
        plan: how much is timed.
        variants: how many there are.
        size_bytes: of their files and the inputs.
        sample_s: what one input takes in all variants together, in seconds.
    """
    rounds = -(-plan.rounds // min(plan.processes, plan.rounds))
    # Single inputs are timed in two ways: the whole call, and the engine alone.
    singles = 2 * (WARM_UP_BLOCKS * WARM_UP_CALLS + rounds * (LEAD_CALLS + MIN_CALLS))
    paced = PACED_CALLS if plan.rate_hz else 0
    calls = singles + (1 + BATCH_CALLS) * sum(plan.batches) + paced
    work_s = calls * (sample_s + variants * _CALL_S) + 2 * rounds * variants * TURN_NS / 1e9
    work_s += variants * paced / (plan.rate_hz or 1)
    threads = len(plan.threads)
    return start_limit_s(size_bytes * threads, work_s * threads)


def making_limit_s(size_bytes: int) -> float:
    """The limit of a process that goes another route from the same model.

    Args:
        size_bytes: of the model and the training inputs.
    """
    return min(LONGEST_S, _MAKING_START_S + size_bytes / BYTES_PER_S)
