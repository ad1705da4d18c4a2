"""`compare`: two reports against each other, and against conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith_bench.gates.compare import Move, moves
from tinsmith_bench.gates.gate import Failure, judge, parse_gate
from tinsmith_bench.report_data import Report
from tinsmith_bench.report_data.reading import read_report


@dataclass(frozen=True)
class Compared:
    """How a report differs from an earlier one.

    Attributes:
        moves: every number that both have.
        notes: in words, what could not be compared.
        failed: what the conditions stopped.
        untried: what they could not be tried on.
    """

    moves: tuple[Move, ...]
    notes: tuple[str, ...]
    failed: tuple[Failure, ...]
    untried: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether every condition was tried and held."""
        return not (self.failed or self.untried)


def compare(
    old: Report | str | Path, new: Report | str | Path, fail_if: Sequence[str] = ()
) -> Compared:
    """Compares two reports, number by number.

    Args:
        old: the earlier report, or its JSON file.
        new: the later one.
        fail_if: conditions, as `latency_us_p50 > 1.10x`; see `gate`.

    Raises:
        UsageError: a report cannot be read, or a condition is none.
    """
    gates = [parse_gate(text) for text in fail_if]
    before, after = (
        one if isinstance(one, Report) else read_report(Path(one)) for one in (old, new)
    )
    found, notes = moves(before, after)
    failed, untried = judge(gates, before, after)
    return Compared(tuple(found), tuple(notes), tuple(failed), tuple(untried))
