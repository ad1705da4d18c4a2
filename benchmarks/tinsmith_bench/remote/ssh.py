"""A line to another machine, over the system's `ssh` and `scp` and its `~/.ssh/config`."""

import contextlib
import getpass
import json
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from tinsmith_bench.remote import agent
from tinsmith_bench.remote.host import HEARTBEAT_S, Host
from tinsmith_bench.remote.messages import (
    AgentFailed,
    Board,
    Message,
    Turn,
    Waiting,
    distributions,
    parse_message,
)
from tinsmith_runtime import TinsmithError

OLDEST_PYTHON = (3, 11)
# After the last word the agent removes its folder; killing what runs takes it a moment.
_PARTING_S = 20
# A person may have to type a password; a slow board takes 10 s to start Python.
CONNECTING_S = 180
# The slowest line that a copy is waited for.
_COPY_BYTES_PER_S = 20_000
# The report is the longest message; that of 100,000 samples and eight variants takes 10 MB.
LONGEST_LINE = 64_000_000
_PIECE = 1 << 16
# What ssh says, and what to do about it.
_CURES = {
    "HAS CHANGED": "another machine answers there, or it was installed anew: if you know why, "
    "ssh-keygen -R removes the old key",
    "Host key verification failed": "log in once with `ssh {0}` and compare the fingerprint",
    "Permission denied": "`ssh {0}` must log in: check the user's name and the key, or name a key "
    "with --identity FILE",
    "Could not resolve": "check the name",
    "connect to host": "is it switched on and in this network, and does it run an ssh server?",
}


class LostError(TinsmithError):
    """The connection or the machine behind it, not what was to be measured."""


class Connection:
    """An agent on another machine: a program of ours that is gone when the connection is.

    Attributes:
        host: the machine.
        board: what it found there.
    """

    board: Board

    def __init__(self, host: Host, folder: Path) -> None:
        """Logs in; `folder` is a private one here, for the socket that ssh and scp share.

        Raises:
            TinsmithError: there is no ssh here, no connection, or no Python on the other side.
        """
        for program in host.programs:
            if shutil.which(program) is None:
                raise TinsmithError(
                    f"--host needs {program}, which is not installed here: apt install "
                    "openssh-client, or your system's package of it"
                )
        self.host, self._folder = host, folder
        text = Path(agent.__file__).read_text("ascii")
        boot = (
            f"import sys;sys.version_info<{OLDEST_PYTHON} and sys.exit(sys.version.split()[0]);"
            f"exec(sys.stdin.read({len(text)}))"
        )
        words = ["-c", boot, f"{agent.MARK}{_own_name()}", *distributions()]
        self._ssh = subprocess.Popen(
            host.running(words, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=host.has_own_session,
        )
        self._printed = agent.Tail(self._ssh.stderr)  # type: ignore[arg-type]
        self._heard = bytearray()
        self._stop, self._writing = threading.Event(), threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()
        self._doing = "connecting"
        try:
            self._send(text)
            board = self.receive(CONNECTING_S)
            if not isinstance(board, Board):
                raise self.misunderstood(f"expected it to say what it found, got {board}")
            self.board = board
        except BaseException:
            self.close()
            raise

    def copy(self, path: Path) -> None:
        """Copies a file into the folder over there.

        Raises:
            TinsmithError: it did not arrive whole.
        """
        words = self.host.copying(path, self.board.folder, self._folder)
        size = path.stat().st_size
        limit_s = CONNECTING_S + size / _COPY_BYTES_PER_S
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as scp:
            printed = agent.Tail(scp.stderr)  # type: ignore[arg-type]
            try:
                status: int | None = scp.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                scp.kill()
        if status:
            said = printed.last_line() or f"{words[0]} ended with {status}"
        else:
            said = f"it takes longer than {limit_s:.0f} s"
        if status != 0:
            raise LostError(
                f"{self.host.destination}: copying {size:,} bytes into "
                f"{self.board.folder} failed: {said}: "
                "is the disk full there, or the connection cut?"
            )

    def take_turn(self, tell: Callable[[str], None]) -> None:
        """Waits until nobody else measures there; none will until the connection ends.

        Args:
            tell: is told who does, if somebody does.

        Raises:
            LostError: as `receive`.
            TinsmithError: it took longer than `host.wait_s`.
        """
        self._doing = "waiting for its turn"
        message = self.receive(CONNECTING_S)
        if isinstance(message, Waiting):
            tell(message.holder)
            limit_s = self.host.wait_s
            message = self.receive(
                limit_s,
                f"{message.holder} measures there, and no turn came within {limit_s} s: "
                "wait longer with --wait SECONDS",
            )
        if not isinstance(message, Turn):
            raise self.misunderstood(f"expected its turn, got `{type(message).__name__.lower()}`")

    def order(self, **order: object) -> None:
        """Has the agent start the work; `receive` then gives what it says."""
        self._doing = "measuring"
        self._send(json.dumps(order) + "\n")

    def receive(self, limit_s: float, too_late: str = "") -> Message:
        """Waits for the next message, and passes over what else is printed there.

        Args:
            limit_s: how long to wait.
            too_late: what is wrong if none comes; that something hangs there if empty.

        Raises:
            LostError: none came, or one that is none, or the connection broke, or the other side
                is in trouble.
        """
        too_late = too_late or (
            f"expected a message within {limit_s:.0f} s while {self._doing}, got none: "
            "does something hang there?"
        )
        silent = LostError(f"{self.host.destination}: {too_late}")
        end = monotonic() + limit_s
        while (line := self._line(end, silent)) is not None:
            _, mark, text = line.partition(agent.MARK.encode())
            if not mark:
                continue
            try:
                message = parse_message(text)
            except ValueError as error:
                raise self.misunderstood(str(error)) from error
            if isinstance(message, AgentFailed):
                raise LostError(f"{self.host.destination}: {message.error}")
            return message
        raise self._broken()

    def misunderstood(self, why: str) -> LostError:
        """The error for an answer that makes no sense."""
        where, doing = self.host.destination, self._doing
        return LostError(f"{where}: no sense in what it said while {doing}: {why}")

    def leave(self) -> None:
        """Has the other side end: a thread that waits for its messages then sees that end."""
        self._stop.set()
        with self._writing, contextlib.suppress(OSError):
            self._ssh.stdin.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """Ends the connection, and waits until the other side has cleaned up."""
        self.leave()
        # What nobody reads any more could keep ssh from noticing.
        agent.Tail(self._ssh.stdout)  # type: ignore[arg-type]
        try:
            self._ssh.wait(_PARTING_S)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, text: str) -> None:
        # A connection that is gone is noticed where its words are read.
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._ssh.stdin.write(text.encode("ascii"))  # type: ignore[union-attr]
            self._ssh.stdin.flush()  # type: ignore[union-attr]

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            self._send("\n")

    def _line(self, end: float, silent: LostError) -> bytes | None:
        """The next line of the other side, without its end; `None` if there will be no more."""
        descriptor, searched = self._ssh.stdout.fileno(), 0  # type: ignore[union-attr]
        while (length := self._heard.find(b"\n", searched)) < 0:
            searched = len(self._heard)
            if searched > LONGEST_LINE:
                raise self.misunderstood(f"expected lines of at most {LONGEST_LINE:,} bytes")
            if not _is_readable(descriptor, end - monotonic()):
                raise silent
            if not (piece := os.read(descriptor, _PIECE)):
                return None
            self._heard += piece
        line = bytes(self._heard[:length])
        del self._heard[: length + 1]
        if monotonic() > end:  # who prints without end says nothing either
            raise silent
        return line

    def _broken(self) -> LostError:
        """Says in a line why ssh ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(_PARTING_S)
        said = self._printed.text()
        last = self._printed.last_line() or f"ssh ended with {self._ssh.returncode}"
        where, python = self.host.destination, self.host.python
        if self._doing != "connecting":
            return LostError(f"{where}: the connection broke while {self._doing}: {last}")
        if self._ssh.returncode != 255:
            oldest = ".".join(map(str, OLDEST_PYTHON))
            return LostError(
                f"{where}: expected Python {oldest} or newer as `{python}`, got: {last}: "
                "name another with --remote-python PATH"
            )
        cure = next((cure for words, cure in _CURES.items() if words in said), "see `ssh -v {0}`")
        return LostError(f"{where}: {last}: {cure.format(where)}")


def _is_readable(descriptor: int, seconds: float) -> bool:
    """Waits until there is something to read, or the end; at most so long."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return seconds > 0 and bool(selector.select(seconds))


def _own_name() -> str:
    """Who measures, as others on the board read it while they wait."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    name = agent.words(f"{user}@{socket.gethostname()}")
    return name.encode("ascii", "replace").decode()[: agent.LONGEST_NAME]
