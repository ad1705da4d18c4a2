"""A line to another machine, over the system's `ssh` and `scp` and its `~/.ssh/config`."""

import contextlib
import json
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tinsmith_bench import guest
from tinsmith_runtime import TinsmithError, UsageError

OLDEST_PYTHON = (3, 11)
_HEARTBEAT_S = 10
# After the last word the guest removes its folder; killing what runs takes it a moment.
_PARTING_S = 20
# A socket's name has at most 104 bytes, of which ssh needs some twenty.
_LONGEST_FOLDER = 80
_ALIVE = ("ConnectTimeout=20", f"ServerAliveInterval={_HEARTBEAT_S}", "ServerAliveCountMax=3")
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


@dataclass(frozen=True)
class Host:
    """Another machine and how to get there.

    Attributes:
        destination: `[user@]host` or a name in `~/.ssh/config`.
        identity: the file of the private key to log in with; as ssh chooses if `None`.
        options: more options for ssh, as in its configuration: `Port=2222`.
        python: the command or path of Python there; relative paths start at the user's home.
    """

    destination: str
    identity: Path | None = None
    options: tuple[str, ...] = ()
    python: str = "python3"

    def __post_init__(self) -> None:
        if not self.destination or self.destination.startswith("-") or "/" in self.destination:
            raise UsageError(f"--host: expected [USER@]HOST, got `{self.destination}`")


@dataclass(frozen=True)
class Board:
    """What was found on the other side.

    Attributes:
        folder: the private folder that was made there.
        free_bytes: on the disk that it lies on.
        python: version.
        executable: that Python's path.
        architecture: `aarch64`, `x86_64`, …
        packages: versions of numpy and of the engines that are installed, by distribution.
    """

    folder: str
    free_bytes: int
    python: str
    executable: str
    architecture: str
    packages: Mapping[str, str]


class Connection:
    """A guest on another machine: a program of ours that is gone when the connection is.

    Attributes:
        board: what it found there.
    """

    board: Board

    def __init__(self, host: Host, folder: Path) -> None:
        """Logs in; `folder` is a private one here, for the socket that ssh and scp share.

        Raises:
            TinsmithError: there is no ssh here, no connection, or no Python on the other side.
        """
        for program in ("ssh", "scp"):
            if shutil.which(program) is None:
                raise TinsmithError(
                    f"--host needs {program}, which is not installed here: apt install "
                    "openssh-client, or your system's package of it"
                )
        self._host = host
        # One connection for both: a password is asked once, and a copy ends with it.
        shared = ("ControlMaster=auto", f"ControlPath={folder / 's'}", "ControlPersist=no")
        if len(str(folder)) > _LONGEST_FOLDER:
            shared = ("ControlMaster=no", "ControlPath=none", "ControlPersist=no")
        pairs = (*host.options, *shared, *_ALIVE)
        self._options = [word for pair in pairs for word in ("-o", pair)]
        if host.identity:
            self._options += ["-i", str(host.identity)]
        text = Path(guest.__file__).read_text("ascii")
        boot = (
            f"import sys;sys.version_info<{OLDEST_PYTHON} and sys.exit(sys.version.split()[0]);"
            f"exec(sys.stdin.read({len(text)}))"
        )
        # Commands start in the user's home; a quoted tilde would not be expanded.
        python = host.python.replace("~/", "./", 1) if host.python[:2] == "~/" else host.python
        command = f"{shlex.quote(python)} -c {shlex.quote(boot)}"
        self._words = (folder / "ssh.txt").open("w+", encoding="utf-8", errors="replace")
        self._ssh = subprocess.Popen(
            ["ssh", *self._options, "-T", host.destination, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
        )
        self._stop, self._writing = threading.Event(), threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()
        self._messages = self._listen()
        self._doing = "connecting"
        try:
            self._send(text)
            self.board = Board(**self.receive()["arrived"])
        except BaseException:
            self.close()
            raise

    def copy(self, path: Path) -> None:
        """Copies a file into the folder over there.

        Raises:
            TinsmithError: it did not arrive whole.
        """
        name, colon, address = self._host.destination.rpartition("@")
        if ":" in address:  # an IPv6 address
            address = f"[{address}]"
        words = [
            "scp",
            "-q",
            *self._options,
            str(path),
            f"{name}{colon}{address}:{self.board.folder}",
        ]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"scp ended with {done.returncode}"])[-1]
            raise TinsmithError(
                f"{self._host.destination}: copying {path.stat().st_size:,} bytes into "
                f"{self.board.folder} failed: {said}: "
                "is the disk full there, or the connection cut?"
            )

    def order(self, **order: object) -> None:
        """Has the guest start the work; `receive` then gives what it says."""
        self._doing = "measuring"
        self._send(json.dumps(order) + "\n")

    def receive(self) -> dict[str, Any]:
        """Waits for the next message.

        Raises:
            TinsmithError: the other side is in trouble, or the connection broke.
        """
        message = next(self._messages, None)
        if message is None:
            raise self._broken()
        if "trouble" in message:
            raise TinsmithError(f"{self._host.destination}: {message['trouble']}")
        return message

    def close(self) -> None:
        """Ends the connection, and waits until the other side has cleaned up."""
        self._stop.set()
        with self._writing, contextlib.suppress(OSError):
            self._ssh.stdin.close()  # type: ignore[union-attr]
        try:
            self._ssh.wait(_PARTING_S)
        except subprocess.TimeoutExpired:
            self._ssh.terminate()
            self._ssh.wait()
        self._ssh.stdout.close()  # type: ignore[union-attr]
        self._words.close()

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
        while not self._stop.wait(_HEARTBEAT_S):
            self._send("\n")

    def _listen(self) -> Iterator[dict[str, Any]]:
        for raw in self._ssh.stdout:  # type: ignore[union-attr]
            _, mark, message = raw.decode("utf-8", "replace").partition(guest.MARK)
            if mark:
                yield json.loads(message)

    def _broken(self) -> TinsmithError:
        """Says in a line why ssh ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(_PARTING_S)
        self._words.seek(0)
        said = self._words.read()
        last = (said.strip().splitlines() or [f"ssh ended with {self._ssh.returncode}"])[-1].strip()
        where, python = self._host.destination, self._host.python
        if self._doing != "connecting":
            return TinsmithError(f"{where}: the connection broke while {self._doing}: {last}")
        if self._ssh.returncode != 255:
            oldest = ".".join(map(str, OLDEST_PYTHON))
            return TinsmithError(
                f"{where}: expected Python {oldest} or newer as `{python}`, got: {last}: "
                "name another with --remote-python PATH"
            )
        cure = next((cure for words, cure in _CURES.items() if words in said), "see `ssh -v {0}`")
        return TinsmithError(f"{where}: {last}: {cure.format(where)}")
