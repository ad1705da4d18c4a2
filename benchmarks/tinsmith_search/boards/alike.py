"""Whether boards may be compared: by the rule of bench, only those of the same hardware."""

import queue
import threading
from collections.abc import Mapping, Sequence

from tinsmith_bench.remote.measure import connect, read_hardware, require_able
from tinsmith_bench.remote.ssh import LostError
from tinsmith_search.boards.file import Board
from tinsmith_search.boards.line import Tell
from tinsmith_search.errors import SearchError


def hardware_of(boards: Sequence[Board], tell: Tell) -> tuple[dict[str, str], dict[str, LostError]]:
    """Asks boards what they are, each in its turn.

    Args:
        boards: the boards.
        tell: is told who measures on a board meanwhile.

    Returns:
        The hardware of those that answer, and why others are lost, by the boards' names.

    Raises:
        TinsmithError: something that a board needs is not installed there.
    """
    answers: queue.SimpleQueue[tuple[str, str | Exception]] = queue.SimpleQueue()

    def ask(board: Board) -> None:
        try:
            with connect(board.host) as connection:
                require_able(connection, [])
                connection.take_turn(lambda who: tell(f"{board.name}: {who} measures there"))
                answers.put((board.name, read_hardware(connection)))
        except Exception as error:
            answers.put((board.name, error))

    for board in boards:
        threading.Thread(target=ask, args=(board,), daemon=True).start()
    found: dict[str, str] = {}
    lost: dict[str, LostError] = {}
    for _ in boards:
        name, answer = answers.get()
        if isinstance(answer, str):
            found[name] = answer
        elif isinstance(answer, LostError):
            lost[name] = answer
        else:
            raise answer
    return found, lost


def require_alike(tag: str, found: Mapping[str, str], known: str | None) -> str:
    """Gives the one hardware of all boards of a tag.

    Args:
        tag: the tag.
        found: the hardware by the boards' names, of at least one.
        known: what the study was measured on before; `None` if it was not.

    Raises:
        SearchError: two differ, or differ from what is known.
    """
    (first, hardware), *others = sorted(found.items())
    for name, other in others:
        if other != hardware:
            raise SearchError(
                f"boards tagged {tag}: expected the same hardware, for their latencies are compared"
                f"; {first} is {hardware}; {name} is {other}: give them different tags"
            )
    if known and known != hardware:
        raise SearchError(
            f"{tag}: this study was measured on {known}; {first} is {hardware}: latencies on them "
            "cannot be compared: measure on the same hardware, or begin another study"
        )
    return hardware
