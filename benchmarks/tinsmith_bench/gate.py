"""Gates: conditions under which a benchmark fails, as `latency_us_p50 > 1.10x`.

| condition | the benchmark fails when |
|---|---|
| `latency_us_p50 > 1.10x` | it is more than 1.10 times the baseline's, and that is not chance |
| `accuracy < -0.2pp` | it is more than 0.2 percentage points below the baseline's, not by chance |
| `size_bytes > 50000` | it is more than that, whatever the baseline says |
| `accuracy < 99%` | it is less than that |

Every variant is held against every condition.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinsmith_bench.compare import METRICS, Move
from tinsmith_runtime import UsageError

_GATE = re.compile(r"(\w+)\s*([<>])\s*([-+]?\d+(?:\.\d+)?)\s*(x|pp|%|)")
_SHARES = ("accuracy", "agreement")


@dataclass(frozen=True)
class Gate:
    """A condition under which a benchmark fails.

    Attributes:
        text: as it was written.
        metric: one of `METRICS`.
        is_above: whether more than the limit fails, or less.
        limit: the number.
        unit: `x`: times the baseline; `pp`: percentage points from it; `%` or none: the value
            itself.
    """

    text: str
    metric: str
    is_above: bool
    limit: float
    unit: str

    @property
    def is_relative(self) -> bool:
        """Whether it needs a baseline."""
        return self.unit in ("x", "pp")

    def fails(self, move: Move) -> bool:
        """Whether a number that moved is beyond the limit, and not by chance."""
        if not self.is_relative:
            return self.is_beyond(move.new)
        shift = move.ratio.value if self.unit == "x" else 100 * (move.new - move.old)
        return move.is_real and self.is_beyond(shift)

    def is_beyond(self, value: float) -> bool:
        """Whether a value (with the unit `%`: a share) is beyond the limit."""
        limit = self.limit / 100 if self.unit == "%" else self.limit
        return value > limit if self.is_above else value < limit


@dataclass(frozen=True)
class Failure:
    """A variant that a gate stopped."""

    gate: Gate
    variant: str
    reason: str


def parse_gate(text: str) -> Gate:
    """Reads a condition.

    Raises:
        UsageError: it is none, or of a number that is not known, or cannot have this unit.
    """
    match = _GATE.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"--fail-if: expected as in 'latency_us_p50 > 1.10x' or 'accuracy < -0.2pp', "
            f"got {text!r}"
        )
    metric, sign, limit, unit = match.groups()
    if metric not in METRICS:
        raise UsageError(f"--fail-if: expected one of {', '.join(METRICS)}; got {metric!r}")
    if (unit in ("pp", "%")) and metric not in _SHARES:
        raise UsageError(f"--fail-if: {unit} is for {' and '.join(_SHARES)}: {text!r}")
    return Gate(text.strip(), metric, sign == ">", float(limit), unit)


def failures(gates: Sequence[Gate], found: Sequence[Move]) -> list[Failure]:
    """Holds a report against the gates.

    Args:
        gates: the conditions.
        found: how the report moved from the baseline; from itself where there is none.
    """
    return [
        Failure(gate, move.variant, _reason(gate, move))
        for gate in gates
        for move in found
        if move.metric == gate.metric and gate.fails(move)
    ]


def _reason(gate: Gate, move: Move) -> str:
    if gate.unit == "x":
        ratio = move.ratio
        interval = f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
        return f"{ratio.value:.3f}x ({move.old:.1f} before, {move.new:.1f} now; {interval})"
    if gate.unit == "pp":
        old, new = 100 * move.old, 100 * move.new
        return f"{new - old:+.2f} pp ({old:.2f} % before, {new:.2f} % now)"
    return f"{100 * move.new:.2f} %" if gate.unit == "%" else f"{move.new:g}"
