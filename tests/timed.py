"""Targets and methods to time, as short as a test can have them."""

from collections.abc import Callable
from typing import Any

from tinsmith_bench.report_data import Method
from tinsmith_bench.target import Target


def timed_target(name: str, open_runner: Callable[[int], Any]) -> Target:
    """A target whose runner has what the test at hand calls, perhaps no more."""
    return Target(name, "b", name, "litert", "int8", "f", 1, open_runner, None)


def method(**changes: Any) -> Method:
    fields: dict[str, Any] = {
        "seed": 0,
        "rounds": 10,
        "processes": 2,
        "threads": (1,),
        "batches": (1, 4),
        "rate_hz": None,
        "cold_starts": 1,
        "top_k": 1,
        "clock": "",
        "timer_overhead_ns": 0.0,
    }
    return Method(**{**fields, **changes})
