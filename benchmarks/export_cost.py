r"""Time and memory of tinsmith's export, beside those of TensorFlow's own PTQ conversion.

    python benchmarks/export_cost.py lite0=lite0.keras,photographs.zip,-0.9921875,1 \
        --write docs/export-cost.md

A model is named as for accuracy.py. All routes have the same 300 inputs to calibrate on, and
tinsmith verifies on 200 others. `ptq` and TensorFlow's conversion take turns, --repeats times; then
`qat` makes a few steps: its memory does not grow with them; --without-qat leaves it out. Rows of
other models that the file to write has already, it keeps. The exit status is 1 if a limit is not
kept.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pages import table_head, write
from routes import Cost
from subjects import (
    DEMO,
    Subject,
    add_arguments,
    check_arguments,
    go,
    prepare,
    requests,
    splits,
    take,
)
from tinsmith_runtime import TinsmithError, UsageError

TITLE = "What an export costs"
NOTE = """\
The routes calibrate on the same inputs, in processes of their own that have imported TensorFlow and
read the inputs when time begins; tinsmith's time includes its verification, on the other inputs.
`ptq` and TensorFlow's PTQ conversion (`tflite-ptq`) took turns: seconds are medians, ratios of
neighbours their median and in brackets the largest. Peak MB is the most that a process held, by
the system's count. `qat` made a few steps. The limits, for models of real size: `ptq` takes at
most twice the time of TensorFlow's PTQ, and 2,500 MB; `qat` 4,000 MB."""
COLUMNS = (
    *("model", "inputs", "route", "s", "CPU s"),
    *("times TensorFlow's PTQ", "peak MB", "holds"),
)
MAX_RATIO = 2.0
MAX_PEAK_MB = {"ptq": 2500.0, "qat": 4000.0}
_ROUTES = ("tflite-ptq", "ptq", "qat")


def main() -> int:
    """Measures each model; gives 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--without-qat", action="store_true", help="measure `ptq` alone")
    parser.set_defaults(evaluation=200, qat_steps=4)
    arguments = parser.parse_args()
    try:
        check_arguments(arguments)
        if arguments.repeats < 1:
            raise UsageError(f"--repeats: expected 1 or more, got {arguments.repeats}")
        return _measure_all(arguments)
    except TinsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _measure_all(arguments: argparse.Namespace) -> int:
    lines = table_head(COLUMNS, 3, 1)
    print("\n".join(lines))
    for name, request in requests(arguments):
        with tempfile.TemporaryDirectory() as folder:
            subject = prepare(name, request, Path(folder))
            (division,) = splits(subject, arguments.calibration, arguments.evaluation, 1)
            take(subject, *division)
            found = measure(subject, arguments.repeats, not arguments.without_qat)
        inputs = f"{len(division[0]):,} + {len(division[1]):,}"
        lines += rows(name, inputs, found)
        print("\n".join(lines[-len(found) :]), flush=True)
        if arguments.write:
            write(arguments.write, TITLE, "\n".join(lines), 3, (*DEMO, *_ROUTES), NOTE)
    return int(any("| no: " in line for line in lines))


def measure(subject: Subject, repeats: int, qat: bool = True) -> dict[str, list[Cost]]:
    """Goes the routes, in turns that begin with each as often."""
    found: dict[str, list[Cost]] = {route: [] for route in _ROUTES[:2]}
    for turn in range(repeats):
        pair = _ROUTES[:2] if turn % 2 == 0 else _ROUTES[1::-1]
        for route in pair:
            found[route].append(go(subject, route))
    if qat:
        found["qat"] = [go(subject, "qat")]
    return found


def rows(model: str, inputs: str, found: dict[str, list[Cost]]) -> list[str]:
    """The rows of a model, each with what it breaks.

    Args:
        model: its name.
        inputs: how many there were.
        found: the costs by the route, those of `ptq` and `tflite-ptq` in pairs.
    """
    lines = []
    for route, costs in found.items():
        peak = max(cost.peak_memory_mb for cost in costs)
        broken, ratio = [], "-"
        if route == "ptq":
            pairs = zip(costs, found["tflite-ptq"], strict=True)
            ratios = [one.seconds / other.seconds for one, other in pairs]
            ratio = f"{np.median(ratios):.2f} ({max(ratios):.2f})"
            if np.median(ratios) > MAX_RATIO:
                broken.append(f"more than {MAX_RATIO:g} times the time")
        limit = MAX_PEAK_MB.get(route)
        if limit is not None and peak > limit:
            broken.append(f"more than {limit:,.0f} MB")
        verdict = "-" if limit is None else "no: " + ", ".join(broken) if broken else "yes"
        cells = (model, inputs, route, _median(costs, "seconds"), _median(costs, "cpu_seconds"))
        lines.append(f"| {' | '.join((*cells, ratio, f'{peak:,.0f}', verdict))} |")
    return lines


def _median(costs: Sequence[Cost], field: str) -> str:
    return f"{np.median([getattr(cost, field) for cost in costs]):,.1f}"


if __name__ == "__main__":
    sys.exit(main())
