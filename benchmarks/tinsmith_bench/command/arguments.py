"""The arguments of `tinsmith bench` and `tinsmith compare`."""

import argparse
from pathlib import Path

from tinsmith_bench.command.bench import run_bench
from tinsmith_bench.command.compare import run_compare
from tinsmith_bench.command.measuring import configure_against, configure_host
from tinsmith_bench.gates.compare import METRICS
from tinsmith_bench.options import BATCHES, Options
from tinsmith_data.options import add_data


def configure_bench(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith bench`."""
    parser.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help="what to measure, side by side"
    )
    _add_data(parser)
    _add_method(parser)
    configure_against(parser)
    configure_host(parser)
    _add_output(parser)
    gates = parser.add_argument_group("gates: exit status 1 if one fails")
    gates.add_argument(
        "--baseline", type=Path, metavar="JSON", help="compare with this earlier report"
    )
    _add_gates(gates)
    parser.set_defaults(run=run_bench)


def configure_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith compare`."""
    parser.add_argument("old", type=Path, metavar="OLD.json", help="the earlier report")
    parser.add_argument("new", type=Path, metavar="NEW.json", help="the later one")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    _add_gates(parser)
    parser.set_defaults(run=run_compare)


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("what to test on")
    add_data(
        data,
        "what the bundle was trained on",
        ": x_test and y_test, or x and y (for several inputs an array for each, by its name); "
        "FOLDER/CLASS/*.png",
    )
    data.add_argument(
        "--top-k", type=int, default=3, metavar="K", help="also measure top-K accuracy (default: 3)"
    )


def _add_method(parser: argparse.ArgumentParser) -> None:
    method = parser.add_argument_group("how to measure")
    method.add_argument("--quick", action="store_true", help="fewer rounds, wider intervals")
    method.add_argument(
        "--threads",
        type=_counts,
        default=(1,),
        metavar="N[,N]",
        help="numbers of threads of the engine, each measured (default: 1)",
    )
    method.add_argument(
        "--batch",
        type=_counts,
        default=BATCHES,
        metavar="N[,N]",
        help=f"batch sizes for the throughput (default: {','.join(map(str, BATCHES))})",
    )
    method.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="also measure at HZ calls a second, as at a camera's pace",
    )
    method.add_argument(
        "--profile", action="store_true", help="also show which operators take the time"
    )
    method.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"timing rounds of each variant (default: {Options.rounds})",
    )
    method.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the order and the inputs (default: 0)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("where the report goes")
    output.add_argument(
        "--json", type=Path, metavar="FILE", help="write the report as JSON; - prints it alone"
    )
    output.add_argument("--markdown", type=Path, metavar="FILE", help="write it as Markdown")
    output.add_argument(
        "--html", type=Path, metavar="FILE", help="write it as one HTML file, with plots"
    )
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _add_gates(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="as in 'latency_us_p50 > 1.10x' or 'accuracy < -0.2pp' against the baseline, "
        f"'size_bytes > 50000' without one; may be given again; metrics: {', '.join(METRICS)}",
    )


def _counts(text: str) -> tuple[int, ...]:
    """Reads `1,2,4`."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers as in 1,2,4, got {text!r}") from error
