"""Gates: conditions under which a benchmark fails, as `latency_us_p50 > 1.10x`.

| condition | the benchmark fails when |
|---|---|
| `latency_us_p50 > 1.10x` | it is more than 1.10 times the baseline's, and that is not chance |
| `accuracy < -0.2pp` | it is more than 0.2 percentage points below the baseline's, not by chance |
| `size_bytes > 50000` | it is more than that, whatever the baseline says |
| `accuracy < 99%` | it is less than that; likewise `map50` and `map` of a detector |

Every variant is held against every condition. A condition that cannot be tried fails too, for each
variant that it cannot be tried on: a gate that is silent would be taken for one that was passed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from tinsmith_bench.gates.compare import METRICS, Move, moves
from tinsmith_bench.report_data import Report, Variant
from tinsmith_bench.stats.difference import START_RUNS
from tinsmith_runtime import UsageError

_GATE = re.compile(r"(\w+)\s*([<>])\s*([-+]?\d+(?:\.\d+)?)\s*(x|pp|%|)")
_SHARES = ("accuracy", "agreement", "map50", "map")
# Of these a competitor may have none: it is in no bundle, so that nothing starts it by itself.
_STARTS = ("start_ms", "peak_rss_bytes")


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
        """Whether a number that moved is beyond the limit, and not by chance; or is none at all."""
        if not (isfinite(move.old) and isfinite(move.new)):
            return True
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
    """A variant that a gate stopped, or could not be tried on.

    Attributes:
        gate: the condition.
        variant: the variant's id; empty where it is all of them.
        reason: why, for a person.
    """

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
    if not isfinite(float(limit)):
        raise UsageError(f"--fail-if: expected a limit that a number can reach, got {text[:50]!r}")
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


def judge(
    gates: Sequence[Gate], old: Report | None, new: Report
) -> tuple[list[Failure], list[Failure]]:
    """Holds a report against the gates, and finds those that cannot be tried.

    Args:
        gates: the conditions; without `old` none of them may be relative.
        old: the baseline.
        new: the report.

    Returns:
        What the gates stopped, and what they could not be tried on.
    """
    stopped: list[Failure] = []
    untried: list[Failure] = []
    # What a gate says of the number itself is true whatever the baseline, its machine and its data.
    own, _ = moves(new, new)
    moved, notes = (own, []) if old is None else moves(old, new)
    for gate in gates:
        found = moved if gate.is_relative else own
        stopped += failures([gate], found)
        untried += _untried(gate, found, old, new, notes)
    return stopped, untried


def _untried(
    gate: Gate, found: Sequence[Move], old: Report | None, new: Report, notes: Sequence[str]
) -> Iterator[Failure]:
    tried = {move.variant for move in found if move.metric == gate.metric}
    if not tried:
        why = " ".join(notes) if gate.is_relative else ""
        what = "could not be compared" if gate.is_relative else "is not in the report"
        yield Failure(gate, "", f"{gate.metric} {what}. {why}".strip())
    elif gate.metric == "start_ms" and gate.is_relative and _runs(old or new, new) < START_RUNS:
        reason = f"fewer than {START_RUNS} cold starts prove nothing: measure without --quick"
        yield Failure(gate, "", reason)
    now = {one.id for one in new.variants}
    before = {one.id for one in old.variants} if old else now
    for name in sorted(before - now):
        yield Failure(gate, name, "it is in the baseline alone: it was not measured now")
    for one in new.variants if tried else ():
        if one.id in tried or not _applies(gate.metric, one, new):
            continue
        if gate.is_relative and one.id not in before:
            yield Failure(gate, one.id, "it is not in the baseline: measure that anew")
        else:
            yield Failure(gate, one.id, f"one of the reports has no {gate.metric} of it")


def _runs(*reports: Report) -> int:
    """The fewest cold starts of a variant."""
    starts = [one.cold_start for report in reports for one in report.variants]
    return min(start.runs for start in starts if start)


def _applies(metric: str, one: Variant, report: Report) -> bool:
    """Whether a variant is expected to have a metric that others of its report have."""
    if metric == "agreement":
        return one.precision != "float"  # it is the agreement with that
    return metric not in _STARTS or one.bundle in {bundle.name for bundle in report.bundles}


def _reason(gate: Gate, move: Move) -> str:
    if not (isfinite(move.old) and isfinite(move.new)):
        return f"expected a number, got {move.new:g} ({move.old:g} before)"
    if gate.unit == "x":
        ratio = move.ratio
        interval = f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
        return f"{ratio.value:.3f}x ({move.old:.1f} before, {move.new:.1f} now; {interval})"
    if gate.unit == "pp":
        old, new = 100 * move.old, 100 * move.new
        return f"{new - old:+.2f} pp ({old:.2f} % before, {new:.2f} % now)"
    return f"{100 * move.new:.2f} %" if gate.unit == "%" else f"{move.new:g}"
