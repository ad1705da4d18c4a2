"""`--host`: measures on another machine, and leaves it as it was."""

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_bench.benchmark import Options
from tinsmith_bench.connection import Board, Connection, Host
from tinsmith_bench.latency import Watch
from tinsmith_bench.luggage import CODE, REQUEST, pack
from tinsmith_bench.report import Report, parse_report
from tinsmith_bench.rivals import Rival
from tinsmith_bench.samples import Samples
from tinsmith_runtime import BackendError, TinsmithError, UsageError, read_bundle
from tinsmith_runtime import archive as bundle_archive
from tinsmith_runtime.batch import numbered, parts
from tinsmith_runtime.manifest import ENGINE_OF_FORMAT

# The distributions that an engine may come from; the first is the one to install.
_ENGINES = {"litert": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",)}
# What Python writes beside our code when it compiles it, and what engines write.
_SPARE_BYTES = 4_000_000


def bench_there(
    host: Host,
    paths: Sequence[Path],
    samples: Samples,
    options: Options,
    rivals: Sequence[Rival] = (),
    *,
    watch: Watch,
    greet: Callable[[Board], None],
) -> Report:
    """Measures bundles on another machine, side by side; see `benchmark.bench`.

    Args:
        host: the machine.
        paths: the bundles, here.
        samples: the test set; it is copied too.
        options: how to measure.
        rivals: other routes to measure beside the first bundle; they were made here.
        watch: is told how far the other side has come.
        greet: is told what was found on the other side, before anything is copied.

    Returns:
        The report that the other side made.

    Raises:
        UsageError: the request cannot work as it was made.
        TinsmithError: no connection, or something is missing there, or it failed; nothing is left
            on the other side.
    """
    bundles = [read_bundle(path) for path in paths]
    engines = {
        ENGINE_OF_FORMAT[variant.format]
        for bundle in bundles
        for variant in bundle.manifest.variants
    }
    # A folder each: two bundles may have the same name.
    contents = {
        f"{number}/{path.name}": bundle_archive.pack(bundle.files)
        for number, (path, bundle) in enumerate(zip(paths, bundles, strict=True))
    }
    request = {
        "bundles": list(contents),
        "samples": {"name": samples.name, "sha256": samples.sha256},
        "options": asdict(options),
        "rivals": [{**asdict(rival), "path": f"rivals/{rival.path.name}"} for rival in rivals],
    }
    contents |= {f"rivals/{rival.path.name}": rival.path.read_bytes() for rival in rivals}
    contents["samples.npz"] = _arrays(samples)
    with tempfile.TemporaryDirectory(prefix="tinsmith-") as name:
        folder = Path(name)
        with Connection(host, folder) as connection:
            _check(host, connection.board, sorted(engines))
            greet(connection.board)
            _bring(host, connection, folder / "luggage.zip", request, contents)
            return _follow(host, connection, watch)


def _arrays(samples: Samples) -> bytes:
    buffer = io.BytesIO()
    inputs = parts(samples.inputs)
    arrays: dict[str, Any] = dict(zip(numbered("inputs", len(inputs)), inputs, strict=True))
    if samples.targets is not None:
        arrays["targets"] = samples.targets
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _bring(
    host: Host,
    connection: Connection,
    luggage: Path,
    request: Mapping[str, Any],
    contents: Mapping[str, bytes],
) -> None:
    """Copies all that is needed, and has the other side start."""
    board = connection.board
    needed = pack(luggage, request, contents) + luggage.stat().st_size + _SPARE_BYTES
    if board.free_bytes < needed:
        raise TinsmithError(
            f"{host.destination}: {board.folder} needs {needed / 1e6:.1f} MB, "
            f"the disk there has {board.free_bytes / 1e6:.1f} MB left"
        )
    connection.copy(luggage)
    words = ["-m", "tinsmith_bench.errand", REQUEST]
    connection.order(luggage=luggage.name, code=CODE, words=words)


def _follow(host: Host, connection: Connection, watch: Watch) -> Report:
    """Passes the progress on until the work is done; gives what came of it."""
    report: Report | None = None
    while "ended" not in (message := connection.receive()):
        if "progress" in message:
            watch(*message["progress"])
        elif "failed" in message:
            error = UsageError if message["status"] == UsageError.exit_status else TinsmithError
            raise error(f"{host.destination}: {message['failed']}")
        else:
            report = parse_report(message["report"], f"{host.destination}: report")
    if message["ended"] != 0 or report is None:
        raise TinsmithError(
            f"{host.destination}: measuring ended with status {message['ended']}: "
            f"{message['last_words'] or 'it said nothing'}"
        )
    return report


def _check(host: Host, board: Board, engines: Sequence[str]) -> None:
    """Refuses a machine on which the work cannot be done, and says what to install there."""
    missing = [] if "numpy" in board.packages else ["numpy"]
    choices = [_ENGINES[engine] for engine in engines]
    if not any(set(names) & board.packages.keys() for names in choices):
        missing.append(" or ".join(names[0] for names in choices))
    if missing:
        raise BackendError(
            f"{host.destination}: {board.executable} (Python {board.python}) lacks "
            f"{' and '.join(missing)}: install it there, `python3 -m venv tinsmith && "
            f"tinsmith/bin/pip install {' '.join(missing).replace(' or ', ' ')}`, then "
            "--remote-python tinsmith/bin/python"
        )
