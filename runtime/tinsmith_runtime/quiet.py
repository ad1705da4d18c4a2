"""Native libraries that write to standard error, and how to have none of it."""

import contextlib
import os
import sys
from _thread import allocate_lock
from collections.abc import Iterator

_LOCK = allocate_lock()  # two that mute at once would save each other's silence


@contextlib.contextmanager
def mute_stderr() -> Iterator[None]:
    """Points file descriptor 2 at nothing for a moment, for the whole process."""
    with _LOCK:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # a daemon may have closed it
            yield
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
