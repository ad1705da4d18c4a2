"""Native libraries that write to standard error, and how to have none of it."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_NOTHING_SAVED = -1
_lock = threading.Lock()  # two that mute at once would save each other's silence
_owner = 0  # the thread that mutes
_saved = _NOTHING_SAVED  # where file descriptor 2 pointed before


@contextlib.contextmanager
def mute_stderr() -> Iterator[None]:
    """Points file descriptor 2 at nothing for a moment, for the whole process.

    Within itself, as when a signal handler loads a model while the program loads one, it does
    nothing more.
    """
    global _owner, _saved
    if _owner == threading.get_ident():
        yield
        return
    with _lock:
        try:
            _owner = threading.get_ident()
            with contextlib.suppress(ValueError):  # the program has closed it
                if sys.stderr is not None:
                    sys.stderr.flush()
            _mute()
            yield
        finally:
            # In this function, for a signal handler may run, and raise, where another begins.
            try:
                if _saved != _NOTHING_SAVED:
                    os.dup2(_saved, 2)
            finally:
                # Forgotten before it is closed: else a child that is forked in between would
                # take whatever has its number then.
                saved, _saved, _owner = _saved, _NOTHING_SAVED, 0
                if saved != _NOTHING_SAVED:
                    os.close(saved)


def _mute() -> None:
    global _saved
    try:
        _saved = os.dup(2)
    except OSError:  # a daemon may have closed it
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
    finally:
        os.close(nothing)


def _start_anew() -> None:
    """Gives a child process its own lock, and its standard error back, if another thread muted it.

    That thread does not exist in the child. The one that forked goes on, and restores by itself.
    """
    global _lock, _owner, _saved
    if _owner != threading.get_ident():
        _lock = threading.Lock()
        if _saved != _NOTHING_SAVED:
            os.dup2(_saved, 2)
            os.close(_saved)
        _owner, _saved = 0, _NOTHING_SAVED


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
