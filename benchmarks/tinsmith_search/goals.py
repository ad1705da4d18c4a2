"""What a search is for, in words: objectives, and limits that nothing may exceed.

| line | means |
|---|---|
| `maximize accuracy` | an objective; several give a front |
| `minimize latency_us_p50 on pi4` | measured on a board with the tag `pi4` |
| `size_bytes <= 50000`, `size_bytes <= 50 kB` | a limit |
| `accuracy >= 98 %` | a limit; accuracies are fractions, from 0 to 1 |
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from tinsmith_search.errors import SearchError

Better = Literal["maximize", "minimize"]
Relation = Literal["<=", ">="]

METRICS: Mapping[str, Better] = {
    "accuracy": "maximize",
    "size_bytes": "minimize",
    "arena_bytes": "minimize",
    "macs": "minimize",
    "parameters": "minimize",
    "latency_us_p50": "minimize",
    "latency_us_p99": "minimize",
}
"""Every metric, and which way it is better."""
MEASURED = frozenset(name for name in METRICS if name.startswith("latency"))
"""What differs from board to board."""

_UNITS: Mapping[str, Mapping[str, float]] = {
    "accuracy": {"%": 0.01},
    "bytes": {"B": 1, "kB": 1000, "KiB": 1024, "MB": 1e6, "MiB": 1 << 20},
    "us": {"us": 1, "ms": 1e3, "s": 1e6},
}
_NAME = r"(?P<metric>\w+)(?:\s+on\s+(?P<board>\S+))?"
_OBJECTIVE = re.compile(rf"(?P<direction>\w+)\s+{_NAME}")
_LIMIT = re.compile(rf"{_NAME}\s*(?P<relation>[<>]=?)\s*(?P<bound>[-+\d.eE]+)\s*(?P<unit>[%\w]*)")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FORM = "`maximize accuracy`, `minimize latency_us_p50 on pi4` or `size_bytes <= 50000`"


@dataclass(frozen=True)
class Metric:
    """What is measured, and on which boards.

    Attributes:
        name: one of `METRICS`.
        board: the tag of the boards; `None` for this machine, and for what is the same everywhere.
    """

    name: str
    board: str | None = None

    def __str__(self) -> str:
        return f"{self.name} on {self.board}" if self.board else self.name


@dataclass(frozen=True)
class Objective:
    """What is to be as high or as low as it can be."""

    metric: Metric
    direction: Better

    def __str__(self) -> str:
        return f"{self.direction} {self.metric}"


@dataclass(frozen=True)
class Limit:
    """What a metric may be at most or at least."""

    metric: Metric
    relation: Relation
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.bound:.12g}"

    def violation(self, value: float) -> float:
        """How far a value is outside: 0 or less inside.

        Outside it is a part of the bound; of an accuracy, a part of the errors that the bound
        allows, so that a point of accuracy and a tenth of the size weigh about the same.
        """
        over = value - self.bound if self.relation == "<=" else self.bound - value
        scale = 1 - self.bound if self.metric.name == "accuracy" else abs(self.bound)
        return over / max(scale, 0.01)


@dataclass(frozen=True)
class Goals:
    """Objectives, at least one, and limits."""

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric that is spoken of, once."""
        found = [one.metric for one in self.objectives] + [one.metric for one in self.limits]
        return tuple(dict.fromkeys(found))

    @property
    def measured(self) -> tuple[Metric, ...]:
        """Those that a board or this machine has to measure."""
        return tuple(metric for metric in self.metrics if metric.name in MEASURED)

    def violations(self, values: Mapping[str, float]) -> dict[str, float]:
        """How far each limit whose metric is known is exceeded; see `Limit.violation`."""
        return {
            str(limit): limit.violation(values[str(limit.metric)])
            for limit in self.limits
            if str(limit.metric) in values
        }

    def __str__(self) -> str:
        return "; ".join(map(str, (*self.objectives, *self.limits)))


def parse_goals(lines: Sequence[str]) -> Goals:
    """Reads objectives and limits, in any order.

    Raises:
        SearchError: a line says neither, a metric is unknown, or two lines contradict each other.
    """
    found = [_parse(line) for line in lines]
    objectives = tuple(one for one in found if isinstance(one, Objective))
    limits = tuple(one for one in found if isinstance(one, Limit))
    if not objectives:
        raise SearchError("goals: expected an objective, such as `maximize accuracy`, got none")
    _refuse_twice("objective", (one.metric for one in objectives))
    _refuse_twice("limit", (f"{one.metric} {one.relation}" for one in limits))
    for one in limits:
        for other in limits:
            pair = (one.metric, one.relation, other.relation)
            if pair == (other.metric, "<=", ">=") and one.bound < other.bound:
                raise SearchError(f"goals: nothing keeps to both `{one}` and `{other}`")
    return Goals(objectives, limits)


def _refuse_twice(what: str, names: Iterable[object]) -> None:
    seen = set[object]()
    for name in names:
        if name in seen:
            raise SearchError(f"goals: expected one {what} of `{name}`, got two")
        seen.add(name)


def _parse(line: str) -> Objective | Limit:
    if match := _LIMIT.fullmatch(line.strip()):
        metric = _metric(line, match)
        relation = match["relation"]
        if relation not in ("<=", ">="):
            raise SearchError(f"goals: `{line}`: expected <= or >=, got {relation}")
        bound = _bound(line, metric, match["bound"], match["unit"])
        return Limit(metric, "<=" if relation == "<=" else ">=", bound)
    if match := _OBJECTIVE.fullmatch(line.strip()):
        metric = _metric(line, match)
        better = METRICS[metric.name]
        if match["direction"] != better:
            raise SearchError(
                f"goals: `{line}`: expected `{better} {metric}`, got {match['direction']}"
            )
        return Objective(metric, better)
    raise SearchError(f"goals: `{line}`: expected {_FORM}")


def _metric(line: str, match: re.Match[str]) -> Metric:
    name, board = match["metric"], match["board"]
    if name not in METRICS:
        near = get_close_matches(name, METRICS, 1)
        cure = f"did you mean {near[0]}?" if near else f"known are {', '.join(METRICS)}"
        raise SearchError(f"goals: `{line}`: unknown metric {name}: {cure}")
    if board and name not in MEASURED:
        raise SearchError(
            f"goals: `{line}`: {name} is the same on every board: leave `on {board}` out"
        )
    if board and not _TAG.fullmatch(board):
        raise SearchError(
            f"goals: `{line}`: expected a tag of letters, digits, dots, dashes and underscores, "
            f"got {board}"
        )
    return Metric(name, board)


def _bound(line: str, metric: Metric, number: str, unit: str) -> float:
    kind = metric.name if metric.name in _UNITS else "us" if metric.name in MEASURED else ""
    units = _UNITS.get("bytes" if metric.name.endswith("_bytes") else kind, {})
    if unit and unit not in units:
        known = f"one of {', '.join(units)}, or no unit" if units else "no unit"
        raise SearchError(f"goals: `{line}`: expected {known}, got {unit}")
    try:
        bound = float(number) * units.get(unit, 1)
    except ValueError as error:
        raise SearchError(f"goals: `{line}`: expected a number, got {number}") from error
    if not math.isfinite(bound) or bound < 0:
        raise SearchError(f"goals: `{line}`: expected a finite number of 0 or more, got {number}")
    if metric.name == "accuracy" and bound > 1:
        raise SearchError(f"goals: `{line}`: expected 0 to 1, or 0 % to 100 %, got {bound:g}")
    return bound
