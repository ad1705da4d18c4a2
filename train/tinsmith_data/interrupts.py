"""Ctrl-C, held back until a place where it does no harm."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Holds Ctrl-C back: TensorFlow may lose an exception while it traces a function, or crash.

    SIGTERM too, where a program takes it for Ctrl-C. KeyboardInterrupt is raised at the end, and by
    a second signal at once. It serves as a decorator, too.

    Yields:
        What raises KeyboardInterrupt if a signal came: to be called often by what takes long.
    """
    came = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    # Another handler is the program's own, and only the main thread may set one.
    ours = threading.current_thread() is threading.main_thread()
    held = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if ours and signal.getsignal(number) is signal.default_int_handler
    ]
    for number in held:
        signal.signal(number, hold)
    try:
        yield check
    finally:
        for number in held:
            signal.signal(number, signal.default_int_handler)
    check()
