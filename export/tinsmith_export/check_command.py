"""`tinsmith check`: what an export would make of a model, in seconds and without data."""

import argparse
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from tinsmith_data.quiet import import_tensorflow, results_alone
from tinsmith_export.api import check
from tinsmith_export.arguments import target_names
from tinsmith_export.check_summary import check_summary
from tinsmith_export.errors import TargetError, UnsupportedLayerError
from tinsmith_export.options import Options
from tinsmith_export.reading_arguments import (
    add_boxes,
    add_model,
    add_reading,
    custom_objects,
    reading_options,
)
from tinsmith_export.results import Checked
from tinsmith_export.targets.names import TARGET_NAMES


def configure_check(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith check`."""
    add_model(parser)
    add_reading(parser)
    add_boxes(parser)
    parser.add_argument(
        "--targets",
        type=target_names,
        metavar="NAMES",
        help=f"what is asked about, separated by commas: {', '.join(TARGET_NAMES)}; default: all. "
        "What is named here and cannot hold the model is a failure",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--verbose", action="store_true", help="let TensorFlow log")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    options = Options(targets=arguments.targets, **reading_options(arguments))
    with results_alone(), _no_collector():
        import_tensorflow(arguments.verbose, bare=True)
        options = replace(options, custom_objects=custom_objects(arguments))
        checked = check(arguments.model, options, arguments.verbose)
    print(_as_json(checked) if arguments.json else "\n".join(check_summary(checked)))
    if checked.refused:
        count = len(checked.refused)
        raise UnsupportedLayerError(
            f"{arguments.model}: {count} {'layer' if count == 1 else 'layers'} cannot be compiled"
        )
    for target in checked.targets:
        if target.refused and arguments.targets:
            raise TargetError(f"{arguments.model}: no {target.title} file can hold it")
    return 0


@contextmanager
def _no_collector() -> Iterator[None]:
    """Lets garbage lie for the seconds that this takes: looking for it is a tenth of them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _as_json(checked: Checked) -> str:
    totals = {"macs": checked.macs, "weights": checked.weights}
    return json.dumps({**asdict(checked), **({} if checked.refused else totals)})
