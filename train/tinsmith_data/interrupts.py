"""Ctrl-C, held back until a place where it does no harm."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


def interrupt_once(number: int, frame: FrameType | None) -> None:
    """A signal's handler that does what Ctrl-C does, and ignores that signal from then on.

    Linux tells a child of its parent's end once for each of the parent's threads. The second time
    would end what the first one makes the child put away.
    """
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Holds Ctrl-C back: TensorFlow may lose an exception while it traces a function, or crash.

    SIGTERM too, where `interrupt_once` takes it for that. KeyboardInterrupt is raised at the end,
    and by a second Ctrl-C at once. It serves as a decorator, too.

    Yields:
        What raises KeyboardInterrupt if a signal came: to be called often by what takes long.
    """
    came = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came = True

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    # Another handler is the program's own, and only the main thread may set one.
    ours = threading.current_thread() is threading.main_thread()
    held = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if ours
        and (handler := signal.getsignal(number)) in (signal.default_int_handler, interrupt_once)
    }
    for number in held:
        signal.signal(number, hold)
    try:
        yield check
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    check()
