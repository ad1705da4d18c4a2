"""From the arguments of `tinsmith bench` to a report: measured here, or on a board."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.api import bench
from tinsmith_bench.competitors import (
    Competitor,
    Material,
    check_names,
    competitor_target,
    make_competitors,
)
from tinsmith_bench.options import Options
from tinsmith_bench.remote.host import WAIT_S, Host
from tinsmith_bench.remote.measure import bench_there
from tinsmith_bench.remote.messages import Board
from tinsmith_bench.report_data import Failure, Report
from tinsmith_bench.samples import find_samples
from tinsmith_bench.timing.latency import Watch
from tinsmith_data import DatasetError, load_dataset
from tinsmith_runtime import Manifest, UsageError, read_bundle
from tinsmith_runtime.bundle import keras_outputs
from tinsmith_runtime.errors import printable

# As many as the routes take: more would only be sent to their processes.
TRAINING_INPUTS = 5000


def configure_host(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where to measure."""
    # The title is the table of `tinsmith.toml` in which these stand.
    there = parser.add_argument_group("board", "over ssh")
    there.add_argument(
        "--host",
        metavar="[USER@]HOST",
        help="measure there, over ssh; nothing is left there; '' measures here",
    )
    there.add_argument("--identity", type=Path, metavar="FILE", help="the key to log in with")
    there.add_argument(
        "--ssh-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option for ssh, as Port=2222; may be given several times",
    )
    there.add_argument(
        "--remote-python",
        default="python3",
        metavar="PATH",
        help="the Python there that has an engine, as tinsmith/bin/python (default: python3)",
    )
    there.add_argument(
        "--wait",
        type=int,
        default=WAIT_S,
        metavar="SECONDS",
        help=f"how long to wait while others measure there (default: {WAIT_S})",
    )


def host_of(options: Mapping[str, Any]) -> Host:
    """The machine that the options of `configure_host` name, by their names there.

    Raises:
        UsageError: an option cannot be.
    """
    return Host(
        options["host"],
        options["identity"],
        tuple(options["ssh_option"]),
        options["remote_python"],
        options["wait"],
    )


def configure_against(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say what else to measure."""
    others = parser.add_argument_group("what to measure beside it")
    others.add_argument(
        "--against",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="NAME[,NAME]",
        help="other routes from the same model: naive (TFMOT and tf2onnx), ort-ptq, tflite-ptq, "
        "tflite-dynamic, keras (minutes: TensorFlow starts with every process); "
        "needs tinsmith[compile]",
    )
    others.add_argument(
        "--model", type=Path, metavar="FILE", help="the Keras model that the bundle was made of"
    )


def measure(arguments: argparse.Namespace, options: Options, watch: Watch) -> Report:
    """Measures the bundles that were named, here or on the host that was named.

    Raises:
        TinsmithError: the benchmark cannot be done.
    """
    paths: list[Path] = arguments.bundles
    check_names(arguments.against)
    host = host_of(vars(arguments)) if arguments.host else None
    if host is None and not arguments.against:
        data = arguments.dataset, arguments.data, arguments.data_dir
        return bench(paths, *data, options=options, watch=watch)
    manifests = [read_bundle(path).manifest for path in paths]
    samples = find_samples(manifests, arguments.dataset, arguments.data, arguments.data_dir)
    with tempfile.TemporaryDirectory(prefix="tinsmith-") as folder:
        competitors, failures = _competitors(arguments, manifests[0], options, Path(folder), watch)
        if host is None:
            targets = [competitor_target(competitor, manifests[0]) for competitor in competitors]
            report = bench(
                paths, samples=samples, options=options, competitors=targets, watch=watch
            )
        else:
            greet = _silent if arguments.quiet else partial(_greet, host)
            tell = partial(_tell, host)
            report = bench_there(
                host, paths, samples, options, competitors, watch=watch, greet=greet, tell=tell
            )
    return replace(report, failures=tuple(failures))


def _competitors(
    arguments: argparse.Namespace,
    manifest: Manifest,
    options: Options,
    folder: Path,
    watch: Watch,
) -> tuple[list[Competitor], list[Failure]]:
    """Makes the competitors that were named, as far as they can be made and measured."""
    if not arguments.against:
        return [], []
    if len(manifest.inputs) > 1 or len(keras_outputs(manifest.outputs)) > 1:
        raise UsageError("--against: other routes are known for one input and one output alone")
    for path in arguments.bundles:
        if path.stem in arguments.against:
            raise UsageError(f"--against {path.stem}: a bundle has this name too: rename {path}")
    material = Material(arguments.model, *_training(arguments, manifest, options.seed))
    made, failures = make_competitors(
        arguments.against, arguments.bundles[0], material, folder, watch
    )
    for competitor in [competitor for competitor in made if not competitor.is_bundle]:
        if arguments.host:
            made.remove(competitor)
            failures.append(Failure(competitor.name, "it is measured only without --host"))
        elif len(options.threads) > 1:
            raise UsageError(
                f"--against {competitor.name}: it is measured with one number of --threads"
            )
    return made, failures


def _training(
    arguments: argparse.Namespace, manifest: Manifest, seed: int
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Inputs and targets to calibrate and to train on, in random order; `None` without any."""
    spec = arguments.data or arguments.dataset or manifest.training.dataset
    try:
        dataset = load_dataset(spec, arguments.data_dir, divided=True)
    except DatasetError:  # a test set alone: whoever needs more says so
        return None, None
    order = np.random.default_rng(seed).permutation(len(dataset.x_train))[:TRAINING_INPUTS]
    return dataset.x_train[order], None if dataset.has_boxes else dataset.y_train[order]


def _silent(board: Board) -> None:
    """Says nothing of what was found on a board."""


def _greet(host: Host, board: Board) -> None:
    """Says what was found on a board, before it is measured."""
    packages = ", ".join(f"{name} {version}" for name, version in board.packages.items())
    said = f"{board.architecture}, Python {board.python}, {packages}"
    print(printable(f"{host.destination}: {said}"), file=sys.stderr, flush=True)


def _tell(host: Host, holder: str) -> None:
    """Says why nothing happens, with --quiet too."""
    said = f"{holder} measures there: waiting for the turn, {host.wait_s} s at most"
    print(printable(f"{host.destination}: {said}"), file=sys.stderr, flush=True)
