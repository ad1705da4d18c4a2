"""Child processes of a benchmark: what is measured in a process of its own.

A child answers into a file of its own, whose descriptor is the last of its arguments: what an
engine or a converter prints cannot come among the answer. An answer is JSON, and parsed before
anything of it is used; what is no JSON may follow after its first line.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from tinsmith_bench.strict import read_strict
from tinsmith_runtime import TinsmithError
from tinsmith_runtime.record import parse_record

T = TypeVar("T")
# Of what a child prints: enough to know what ended it.
_PIECES, _PIECE_BYTES, _LONGEST_LINE = 8, 1 << 14, 2000


def run_python(words: Sequence[str], what: str, limit_s: float, sent: bytes = b"") -> bytes:
    """Runs Python on `words` in a fresh process.

    Args:
        words: what follows `python -P`; the descriptor for the answer is added.
        what: names the work in an error.
        limit_s: when it counts as hung, in seconds; see `limits.py`.
        sent: what the process reads from its standard input.

    Returns:
        What it answered.

    Raises:
        TinsmithError: the process failed or hung; the message ends with its last words.
    """
    reading, printing = os.pipe()
    with tempfile.TemporaryFile() as answer:
        channel = answer.fileno()
        try:
            # -P: the folder of a script must not come before the standard library on its path.
            child = subprocess.Popen(
                [sys.executable, "-P", *words, str(channel)],
                stdin=subprocess.PIPE,
                stdout=printing,
                stderr=subprocess.STDOUT,
                pass_fds=[channel],
            )
        except OSError as error:
            os.close(reading)
            raise TinsmithError(f"{what}: Python does not start: {error.strerror}") from error
        finally:
            os.close(printing)
        kept: deque[bytes] = deque(maxlen=_PIECES)
        reader = threading.Thread(target=_read_all, args=(reading, kept), daemon=True)
        reader.start()
        # In a thread: with a timeout, `communicate` looks again and again, which disturbs timings.
        running = threading.Thread(target=child.communicate, args=(sent,), daemon=True)
        running.start()
        try:
            running.join(limit_s)
            if running.is_alive():
                raise TinsmithError(
                    f"{what}: expected it to end within its limit of {limit_s:.0f} s, it did not: "
                    "does the engine hang, or is the machine overloaded?"
                )
        finally:
            child.kill()
            running.join()
        if child.returncode != 0:
            reader.join(1)
            lines = b"".join(kept).decode("utf-8", "replace").strip().splitlines()
            said = lines[-1].strip()[-_LONGEST_LINE:] if lines else "it said nothing"
            raise TinsmithError(f"{what} ended with status {child.returncode}: {said}")
        answer.seek(0)
        return answer.read()


def _read_all(descriptor: int, kept: deque[bytes]) -> None:
    """Reads a pipe to its end, so that its writer never waits, and keeps the last of it."""
    while piece := os.read(descriptor, _PIECE_BYTES):
        kept.append(piece)
    # The reader's own, to close at the end: a process that outlives the child may delay it.
    os.close(descriptor)


def parse_answer(kind: type[T], answer: bytes, what: str) -> tuple[T, bytes]:
    """Parses the first line of a child's answer.

    Args:
        kind: the dataclass that it must be.
        answer: what `run_python` gave.
        what: names the work in an error.

    Returns:
        The record, and what follows it.

    Raises:
        TinsmithError: it is no such record.
    """
    line, _, rest = answer.partition(b"\n")
    try:
        return parse_record(kind, read_strict(line)), rest
    except ValueError as error:
        raise TinsmithError(f"{what} gave no answer that makes sense: {error}") from error


def send_answer(channel: str, answer: bytes) -> None:
    """Answers the parent, from a child whose last argument is `channel`."""
    with os.fdopen(int(channel), "wb") as file:
        file.write(answer)
