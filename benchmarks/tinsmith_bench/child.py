"""Child processes of a benchmark: what is measured in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence

from tinsmith_runtime import TinsmithError

# A Raspberry Pi needs some 5 s with a cold disk; an engine that takes minutes hangs.
TIMEOUT_S = 600


def run_python(words: Sequence[str], what: str, sent: bytes = b"") -> bytes:
    """Runs Python on `words` in a fresh process.

    Args:
        words: what follows `python -P`.
        what: names the work in an error.
        sent: what the process reads from its standard input.

    Returns:
        What it wrote to its standard output.

    Raises:
        TinsmithError: the process failed or hung; the message ends with its last words.
    """
    # -P: the folder of a script must not come before the standard library on the child's path.
    command = [sys.executable, "-P", *words]
    try:
        child = subprocess.run(command, input=sent, capture_output=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TinsmithError(f"{what}: {error}") from error
    if child.returncode != 0:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        last_words = (lines or ["it said nothing"])[-1]
        raise TinsmithError(f"{what} ended with status {child.returncode}: {last_words}")
    return child.stdout
