"""Standing in line: for boards that others on this machine want too, and at the boards themselves.

Who waits uses no core: the kernel wakes up one thread when it is its turn, first come first served.
"""

import fcntl
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinsmith_bench.remote.host import ThisMachine
from tinsmith_bench.remote.measure import connect
from tinsmith_bench.remote.ssh import Connection
from tinsmith_runtime import TinsmithError
from tinsmith_search.boards.file import Board
from tinsmith_search.errors import SearchError

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Free:
    """A board whose turn is ours until `stack` is closed."""

    board: Board
    connection: Connection
    stack: ExitStack


@contextmanager
def only_one_here(path: Path, limit_s: float) -> Iterator[None]:
    """Lets one thread of all processes of this machine in at a time.

    So one thread of each machine waits at a board, however many workers the machine has. The lock
    ends with its process.

    Args:
        path: of an empty file, which is made.
        limit_s: how long to wait, in seconds.

    Raises:
        SearchError: it took longer, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SearchError(f"{path}: cannot be written: {error.strerror}") from error
    entered = Future[None]()

    def wait() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if entered.set_running_or_notify_cancel():
            entered.set_result(None)
        else:  # nobody waits any more
            os.close(descriptor)

    threading.Thread(target=wait, daemon=True).start()
    try:
        try:
            entered.result(limit_s)
        except TimeoutError as error:
            raise SearchError(
                f"the boards: other workers of this machine were in line for {limit_s:.0f} s"
            ) from error
        yield
    finally:
        if not entered.cancel():
            os.close(descriptor)


@contextmanager
def turn_here(tell: Tell) -> Iterator[None]:
    """Waits until nobody measures on this machine; nobody else does meanwhile.

    Args:
        tell: is told who measures here, if somebody does.

    Raises:
        TinsmithError: the turn did not come.
    """
    with connect(ThisMachine()) as connection:
        connection.take_turn(lambda who: tell(f"this machine: {who} measures here"))
        yield


def first_free(
    boards: Sequence[Board], check: Callable[[Connection], None], tell: Tell
) -> Free | Mapping[str, TinsmithError]:
    """Stands in line at several boards at once, and leaves the others when one is free.

    Args:
        boards: at least one.
        check: refuses a board by what it is, before it is waited for.
        tell: is told who measures on a board meanwhile.

    Returns:
        The board; or why there is none, by the boards' names.
    """
    line = _Line(check, tell)
    for board in boards:
        # A daemon: who hangs while it connects must not hold us up, now or at the end.
        threading.Thread(target=line.stand, args=(board,), daemon=True).start()
    errors: dict[str, TinsmithError] = {}
    try:
        while len(errors) < len(boards):
            found = line.events.get()
            if isinstance(found, Free):
                return found
            name, error = found
            if not isinstance(error, TinsmithError):
                raise error
            errors[name] = error
        return errors
    finally:
        line.leave()


class _Line:
    """Connections that wait for their turn, until one of them has it."""

    def __init__(self, check: Callable[[Connection], None], tell: Tell) -> None:
        self.events: queue.SimpleQueue[Free | tuple[str, Exception]] = queue.SimpleQueue()
        self._check, self._tell = check, tell
        self._waiting: list[Connection] = []
        self._is_over, self._lock = False, threading.Lock()

    def stand(self, board: Board) -> None:
        try:
            with ExitStack() as stack:
                connection = stack.enter_context(connect(board.host))
                if not self._enter(connection):
                    return
                self._check(connection)
                connection.take_turn(lambda who: self._tell(f"{board.name}: {who} measures there"))
                with self._lock:
                    self._waiting.remove(connection)
                    if not self._is_over:
                        self._is_over = True
                        self.events.put(Free(board, connection, stack.pop_all()))
        except Exception as error:
            self.events.put((board.name, error))

    def _enter(self, connection: Connection) -> bool:
        with self._lock:
            self._waiting.append(connection)
            return not self._is_over

    def leave(self) -> None:
        """Gives up the places in all other lines."""
        with self._lock:
            self._is_over = True
            for connection in self._waiting:
                connection.leave()
