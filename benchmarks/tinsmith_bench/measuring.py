"""From the arguments of `tinsmith bench` to a report: measured here, or on a board."""

import argparse
import sys
from functools import partial
from pathlib import Path

from tinsmith_bench.benchmark import Options, bench
from tinsmith_bench.connection import Board, Host
from tinsmith_bench.latency import Watch
from tinsmith_bench.remote import bench_there
from tinsmith_bench.report import Report
from tinsmith_bench.samples import find_samples
from tinsmith_runtime import read_bundle


def configure_host(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where to measure."""
    there = parser.add_argument_group("on a board, from the desk")
    there.add_argument(
        "--host", metavar="[USER@]HOST", help="measure there, over ssh; nothing is left there"
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


def measure(arguments: argparse.Namespace, options: Options, watch: Watch) -> Report:
    """Measures the bundles that were named, here or on the host that was named.

    Raises:
        TinsmithError: the benchmark cannot be done.
    """
    data = arguments.dataset, arguments.data, arguments.data_dir
    if arguments.host is None:
        return bench(arguments.bundles, *data, options=options, watch=watch)
    host = Host(
        arguments.host, arguments.identity, tuple(arguments.ssh_option), arguments.remote_python
    )
    manifests = [read_bundle(path).manifest for path in arguments.bundles]
    return bench_there(
        host,
        arguments.bundles,
        find_samples(manifests, *data),
        options,
        watch=watch,
        greet=_silent if arguments.quiet else partial(_greet, host),
    )


def _silent(board: Board) -> None:
    """Says nothing of what was found on a board."""


def _greet(host: Host, board: Board) -> None:
    """Says what was found on a board, before it is measured."""
    packages = ", ".join(f"{name} {version}" for name, version in board.packages.items())
    print(
        f"{host.destination}: {board.architecture}, Python {board.python}, {packages}",
        file=sys.stderr,
        flush=True,
    )
