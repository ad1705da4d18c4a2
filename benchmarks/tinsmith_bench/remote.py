"""`--host`: measures on another machine, and leaves it as it was."""

import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tinsmith_bench.connection import Board, Connection, Host
from tinsmith_bench.luggage import CODE, REQUEST, pack
from tinsmith_runtime import BackendError, TinsmithError, UsageError

# The distributions that an engine may come from; the first is the one to install.
_ENGINES = {"litert": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",)}
# What Python writes beside our code when it compiles it, and what engines write.
_SPARE_BYTES = 4_000_000

Greet = Callable[[Board], None]


def run_there(
    host: Host,
    backends: Collection[str],
    request: Mapping[str, Any],
    files: Mapping[str, bytes],
    watch: Callable[[str, int, int], None],
    greet: Greet,
) -> dict[str, Any]:
    """Has `errand.py` do a request on another machine.

    Args:
        host: the machine.
        backends: the engines that could run the request; one of them must be there.
        request: what to do.
        files: what it needs for that, by name.
        watch: is told how far the other side has come.
        greet: is told what was found on the other side, before anything is copied.

    Returns:
        The report, parsed from JSON.

    Raises:
        UsageError: the request cannot work as it was made.
        TinsmithError: no connection, or something is missing there, or it failed; nothing is left
            on the other side.
    """
    with tempfile.TemporaryDirectory(prefix="tinsmith-") as name:
        folder = Path(name)
        with Connection(host, folder) as connection:
            _check(host, connection.board, backends)
            greet(connection.board)
            luggage = folder / "luggage.zip"
            unpacked = pack(luggage, request, files)
            needed = luggage.stat().st_size + unpacked + _SPARE_BYTES
            if connection.board.free_bytes < needed:
                raise TinsmithError(
                    f"{host.destination}: {connection.board.folder} needs {needed / 1e6:.1f} MB, "
                    f"the disk there has {connection.board.free_bytes / 1e6:.1f} MB left"
                )
            connection.copy(luggage)
            words = ["-m", "tinsmith_bench.errand", REQUEST]
            connection.order(luggage=luggage.name, code=CODE, words=words)
            return _follow(host, connection, watch)


def _follow(
    host: Host, connection: Connection, watch: Callable[[str, int, int], None]
) -> dict[str, Any]:
    report: dict[str, Any] | None = None
    while "ended" not in (message := connection.receive()):
        if "progress" in message:
            watch(*message["progress"])
        elif "failed" in message:
            error = UsageError if message["status"] == UsageError.exit_status else TinsmithError
            raise error(f"{host.destination}: {message['failed']}")
        else:
            report = message["report"]
    if message["ended"] != 0 or report is None:
        raise TinsmithError(
            f"{host.destination}: measuring ended with status {message['ended']}: "
            f"{message['last_words'] or 'it said nothing'}"
        )
    return report


def _check(host: Host, board: Board, backends: Collection[str]) -> None:
    """Refuses a machine on which the work cannot be done, and says what to install there."""
    missing = [] if "numpy" in board.packages else ["numpy"]
    choices = [_ENGINES[backend] for backend in backends]
    if not any(set(names) & board.packages.keys() for names in choices):
        missing.append(" or ".join(names[0] for names in choices))
    if missing:
        raise BackendError(
            f"{host.destination}: {board.executable} (Python {board.python}) lacks "
            f"{' and '.join(missing)}: install it there, `python3 -m venv tinsmith && "
            f"tinsmith/bin/pip install {' '.join(missing).replace(' or ', ' ')}`, then "
            "--remote-python tinsmith/bin/python"
        )
