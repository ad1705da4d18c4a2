"""Shows on this machine that `tinsmith bench` may be believed: `python benchmarks/trust.py BUNDLE`.

| check | what is shown |
|---|---|
| `repeat` | two runs in a row agree on every ratio within their printed intervals |
| `same` | a bundle against itself, under two names: no difference is reported, ten times of ten |
| `slowed` | an engine slowed by 15 % fails `latency_us_p50 > 1.10x`; by 1 % it has not moved |

It prints a line a finding and ends with status 1 if a check fails. All three take about ten
minutes, with `--quick` three.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from tinsmith_bench import Options, Report, bench
from tinsmith_bench.gates.compare import moves
from tinsmith_bench.gates.gate import failures, parse_gate
from tinsmith_bench.options import QUICK
from tinsmith_bench.report_data import Estimate
from tinsmith_bench.stats.difference import differences
from tinsmith_bench.target import Runner, Target, bundle_targets
from tinsmith_runtime import TinsmithError, read_bundle

GATE = "latency_us_p50 > 1.10x"


class SlowedRunner:
    """A real engine that takes `factor` times as long: what is left of the time it spins."""

    def __init__(self, open_runner: Callable[[int], Runner], factor: float, threads: int) -> None:
        self._runner = runner = open_runner(threads)
        self._factor = factor
        self.engine_version = runner.engine_version
        self.encode, self.decode = runner.encode, runner.decode
        self.predict, self.profile, self.close = runner.predict, runner.profile, runner.close

    def run(self, encoded: Any) -> Any:
        """See `Runner.run`."""
        return self._slow(self._runner.run, encoded)

    def answer(self, sample: Any) -> object:
        """See `Runner.answer`."""
        return self._slow(self._runner.answer, sample)

    def _slow(self, call: Callable[[Any], Any], argument: Any) -> Any:
        start = perf_counter_ns()
        result = call(argument)
        end = start + self._factor * (perf_counter_ns() - start)
        while perf_counter_ns() < end:
            pass
        return result


def slowed(path: Path, factor: float, name: str = "slowed") -> Target:
    """The last variant of a bundle, int8, slowed by a factor."""
    # By its module's name, not as `__main__`: the processes that time it look for it there.
    from trust import SlowedRunner

    *_, real = bundle_targets(path.stem, path, read_bundle(path), "")
    return replace(
        real, id=name, name=name, open=partial(SlowedRunner, real.open, factor), probe=None
    )


def check_repeat(measure: Callable[..., Report], path: Path) -> bool:
    """Whether the intervals of two runs overlap, for every ratio."""
    reports = [measure([path]) for _ in range(2)]
    agreed = True
    for first, second in zip(*(report.comparisons for report in reports), strict=True):
        for way in ("latency", "engine"):
            one: Estimate = getattr(first.speed, way)
            other: Estimate = getattr(second.speed, way)
            overlap = one.low <= other.high and other.low <= one.high
            agreed &= overlap
            print(
                f"repeat: {first.candidate} / {first.baseline}, {way}: "
                f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}], "
                f"{other.value:.3f} [{other.low:.3f}, {other.high:.3f}]: "
                f"{'agree' if overlap else 'DISAGREE'}"
            )
    return agreed


def check_same(measure: Callable[..., Report], path: Path, runs: int) -> bool:
    """Whether a copy of a bundle is never called different from it."""
    clean = 0
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder, f"{path.stem}-twin.tin")
        shutil.copy(path, twin)
        for number in range(runs):
            report = measure([path, twin])
            half = len(report.variants) // 2
            found = [
                f"{one.name}: {difference.text}"
                for other, one in zip(report.variants[:half], report.variants[half:], strict=True)
                for difference in differences(one, other, report.compare(one.id, other.id))
            ]
            clean += not found
            print(f"same: run {number + 1} of {runs}: {'; '.join(found) or 'no difference'}")
    return clean == runs


def check_slowed(measure: Callable[..., Report], path: Path) -> bool:
    """Whether the gate catches 15 %, and 1 % is not called a regression."""
    reports = {
        factor: measure([path], competitors=[slowed(path, factor)]) for factor in (1.0, 1.01, 1.15)
    }
    right = True
    for factor in (1.01, 1.15):
        found, _ = moves(reports[1.0], reports[factor])
        (move,) = [
            move for move in found if (move.variant, move.metric) == ("slowed", "latency_us_p50")
        ]
        stopped = bool(failures([parse_gate(GATE)], [move]))
        expected = factor == 1.15
        right &= (stopped, move.is_real) == (expected, expected)
        print(
            f"slowed by {factor:.2f}: {move.ratio.value:.3f} "
            f"[{move.ratio.low:.3f}, {move.ratio.high:.3f}]: "
            f"{'a regression' if move.is_real else 'no regression'}, "
            f"gate {'failed' if stopped else 'kept'}"
        )
    return right


def main() -> int:
    """Runs the checks that were asked for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, help="as for tinsmith bench")
    parser.add_argument("--check", choices=("repeat", "same", "slowed"), help="this one alone")
    parser.add_argument("--runs", type=int, default=10, help="of `same` (default 10)")
    parser.add_argument("--quick", action="store_true", help="as for tinsmith bench")
    arguments = parser.parse_args()
    # The processes that do the timing must find this file.
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), *known]))
    options = QUICK if arguments.quick else Options()
    measure = partial(bench, data=arguments.data, options=options)
    checks: dict[str, Callable[[], bool]] = {
        "repeat": lambda: check_repeat(measure, arguments.bundle),
        "same": lambda: check_same(measure, arguments.bundle, arguments.runs),
        "slowed": lambda: check_slowed(measure, arguments.bundle),
    }
    failed = [
        name for name, check in checks.items() if arguments.check in (None, name) and not check()
    ]
    print(f"failed: {', '.join(failed)}" if failed else "every check holds")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TinsmithError as error:
        sys.exit(f"error: {error}")
