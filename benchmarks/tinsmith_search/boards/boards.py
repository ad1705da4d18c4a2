"""The boards of a search: which are alike, which are lost, and who measures the next bundle."""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith_bench import Options
from tinsmith_bench.api import unwatched
from tinsmith_bench.remote.host import ThisMachine
from tinsmith_bench.remote.measure import measure_in_turn, require_able
from tinsmith_bench.remote.ssh import LostError
from tinsmith_data.cache import cache_folder
from tinsmith_runtime import TinsmithError, UsageError, read_bundle
from tinsmith_runtime.cli.settings import unknown
from tinsmith_search.boards.alike import hardware_of, require_alike
from tinsmith_search.boards.file import Board, read_boards
from tinsmith_search.boards.line import Free, Tell, first_free, only_one_here
from tinsmith_search.boards.measurement import OPTIONS, Measurement, golden_samples, measurement_of
from tinsmith_search.errors import SearchError

THIS_MACHINE = "this machine"
MEASURING_S = 1800.0
"""How long it may take to measure one bundle, once it is on the board."""
PATIENCE_S = 600.0
"""How long a trial waits for boards that are all lost."""
# A bundle that was on so many boards when they were lost may be why.
_MAX_LOSSES = 3
_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 300.0
# Others of this machine are before us, each no longer than its own limits.
_LINE_S = 24 * 3600.0


@dataclass(frozen=True)
class _Lost:
    """A board that did not answer, or not to the end.

    Attributes:
        times: one after the other.
        retry_at: when it is tried again, by `time.monotonic`.
        error: what happened the last time.
    """

    times: int
    retry_at: float
    error: TinsmithError


class Boards:
    """Boards with tags, and this machine without one.

    Each measures one bundle at a time; its turn is a lock on the board itself, which `tinsmith
    bench --host` takes too. See `remote.agent`.

    Attributes:
        boards: those of the file; none without one.
        hardware: what the boards of each tag are; `check` finds out.
    """

    def __init__(self, boards: Sequence[Board] = (), hardware: Mapping[str, str] | None = None):
        self.boards = tuple(boards)
        self.hardware = dict(hardware or {})
        self._lost: dict[str, _Lost] = {}

    @classmethod
    def read(cls, path: Path, *, trusted: bool = True) -> "Boards":
        """Reads a file of boards; see `file.read_boards`.

        Raises:
            UsageError: it cannot be read, or says what cannot be.
        """
        return cls(read_boards(path, trusted=trusted))

    def tagged(self, tag: str | None) -> tuple[Board, ...]:
        """The boards with a tag; this machine for `None`.

        Raises:
            UsageError: there is none.
        """
        if tag is None:
            return (Board(THIS_MACHINE, ThisMachine()),)
        found = tuple(board for board in self.boards if tag in board.tags)
        if not found and not self.boards:
            raise UsageError(f"on {tag}: no board is known: name a file of boards with --boards")
        if not found:
            tags = dict.fromkeys(tag for board in self.boards for tag in board.tags)
            raise UsageError(f"boards: {unknown('tag', tag, list(tags))}")
        return found

    def check(
        self, tags: Iterable[str | None], known: Mapping[str, str] | None = None, *, tell: Tell
    ) -> dict[str, str]:
        """Asks each board once what it is, in its turn.

        Args:
            tags: of the boards that will be needed; `None` for this machine.
            known: what the boards of a tag were when others measured for the same study.
            tell: is told who measures, which boards are lost, and who is on a board meanwhile.

        Returns:
            The hardware by tag, to be known by who joins the study later.

        Raises:
            SearchError: boards of a tag are not alike, or all of them are lost.
            UsageError: there is no board with a tag.
        """
        for tag in dict.fromkeys(tags):
            name = tag or THIS_MACHINE
            found, lost = hardware_of(self.tagged(tag), tell)
            for board, error in lost.items():
                tell(f"{board} is lost, and tried again later: {error}")
            if not found:
                raise SearchError(f"no board answers: {_say(lost)}")
            self.hardware[name] = require_alike(name, found, (known or {}).get(name))
            who = "this machine measures" if tag is None else f"{tag}: {', '.join(sorted(found))}"
            tell(f"{who}: {self.hardware[name]}")
        return dict(self.hardware)

    def measure(
        self,
        bundle: Path,
        tag: str | None,
        options: Options = OPTIONS,
        *,
        patience_s: float = PATIENCE_S,
        limit_s: float = MEASURING_S,
        tell: Tell = lambda _: None,
    ) -> Measurement:
        """Measures a bundle on the first board with a tag that is free.

        Whoever calls it waits; the wait needs no core, and with a tag the measuring needs none
        here either. A board that is lost gives the bundle back; one on which it fails is not tried
        with it again.

        Args:
            bundle: the file.
            tag: of the boards; this machine if `None`.
            options: how to measure.
            patience_s: how long to wait while all boards are lost, in seconds.
            limit_s: how long it may take to measure, in seconds.
            tell: is told what happens meanwhile.

        Raises:
            SearchError: it could not be measured; it may be later.
            TinsmithError: the bundle is damaged.
        """
        boards, samples = self.tagged(tag), golden_samples(bundle)
        failed: dict[str, TinsmithError] = {}
        losses = 0
        while free := self._next_free(tag, boards, bundle, failed, patience_s, tell):
            name = free.board.name
            try:
                with free.stack:
                    report = measure_in_turn(
                        free.connection,
                        [bundle],
                        samples,
                        options,
                        watch=unwatched,
                        limit_s=limit_s,
                        is_tested=True,
                    )
                require_alike(
                    tag or THIS_MACHINE, {name: report.machine.hardware}, self._known(tag)
                )
            except LostError as error:
                losses += 1
                self._lose(free.board, error, tell)
                if losses == _MAX_LOSSES:
                    raise SearchError(f"{losses} boards were lost with it: {error}") from error
            except TinsmithError as error:
                failed[name] = error
            else:
                self._lost.pop(name, None)
                self.hardware[tag or THIS_MACHINE] = report.machine.hardware
                return measurement_of(report, name)
        raise SearchError(f"measured on no board: {_say(failed)}")

    def _next_free(
        self,
        tag: str | None,
        boards: Sequence[Board],
        bundle: Path,
        failed: dict[str, TinsmithError],
        patience_s: float,
        tell: Tell,
    ) -> Free | None:
        """The first board that is free; `None` if the bundle failed on all of them.

        Raises:
            SearchError: all were lost for too long.
        """
        bundles, end = [read_bundle(bundle)], None
        while able := [board for board in boards if board.name not in failed]:
            now = time.monotonic()
            ready = [board for board in able if self._retry_at(board) <= now]
            if ready:
                with only_one_here(_place(boards), _LINE_S):
                    found = first_free(ready, lambda one: require_able(one, bundles), tell)
                if isinstance(found, Free):
                    return found
                for board in ready:
                    error = found[board.name]
                    if isinstance(error, LostError):
                        self._lose(board, error, tell)
                    else:
                        failed[board.name] = error
                continue
            end = end or now + patience_s
            if now >= end:
                errors = {board.name: self._lost[board.name].error for board in able}
                raise SearchError(f"no board answers: {_say(errors)}")
            time.sleep(min(end, *map(self._retry_at, able)) - now)
        return None

    def _known(self, tag: str | None) -> str | None:
        return self.hardware.get(tag or THIS_MACHINE)

    def _retry_at(self, board: Board) -> float:
        lost = self._lost.get(board.name)
        return lost.retry_at if lost else 0.0

    def _lose(self, board: Board, error: LostError, tell: Tell) -> None:
        lost = self._lost.get(board.name)
        times = lost.times + 1 if lost else 1
        pause_s = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2 ** (times - 1))
        self._lost[board.name] = _Lost(times, time.monotonic() + pause_s, error)
        tell(f"{board.name} is lost, and tried again in {pause_s:.0f} s: {error}")


def _place(boards: Sequence[Board]) -> Path:
    """The lock of those on this machine who wait for the same boards."""
    names = "\n".join(sorted(str(board.host) for board in boards))
    return cache_folder() / f"boards-{hashlib.sha256(names.encode()).hexdigest()[:16]}.lock"


def _say(errors: Mapping[str, TinsmithError]) -> str:
    return "; ".join(f"{name}: {error}" for name, error in errors.items())
