"""What is known of each trial, as plain data: what is stored, judged and reported."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["done", "infeasible", "not promoted", "failed", "running"]


@dataclass(frozen=True)
class Row:
    """One trial.

    A metric's name is written as in the goals: `accuracy`, `size_bytes`, `arena_bytes`, `macs`,
    `latency_us_p50`, `latency_us_p50 on pi4`. Accuracies are fractions, from 0 to 1.

    Attributes:
        number: Optuna's number of the trial.
        state: How it ended.
        stage: The last stage that it has finished, or `""`.
        parameters: What was chosen, by name.
        values: The newest value of each metric.
        intervals: The 95 % interval, low and high, of the metrics that have one.
        reason: Why it is not done, in one line; or None.
        seconds: How long it took, over all stages.
        worker: Who ran it, as `host:process`.
        measured_on: Board or machine, with its CPU, where latencies were measured; or None.
        bundle: The bundle's path, relative to the run folder; or None.
    """

    number: int
    state: State
    stage: str
    parameters: dict[str, bool | int | float | str]
    values: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    reason: str | None = None
    seconds: float = 0.0
    worker: str = ""
    measured_on: str | None = None
    bundle: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Gives what JSON can hold."""
        return asdict(self)
