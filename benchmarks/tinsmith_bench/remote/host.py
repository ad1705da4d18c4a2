"""A machine to measure on, and the commands that run there and copy to it."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tinsmith_data.limits import require_whole
from tinsmith_runtime import UsageError

HEARTBEAT_S = 10
WAIT_S = 3600
"""How long to wait for one's turn, where nothing else is said."""
MAX_WAIT_S = 7 * 24 * 3600

_HOST = re.compile(r"(?:[\w.+\\-]+@)?(?!-)[\w.:%+-]+")
# A socket's name has at most 104 bytes, of which ssh needs some twenty.
_LONGEST_FOLDER = 80
_ALIVE = ("ConnectTimeout=20", f"ServerAliveInterval={HEARTBEAT_S}", "ServerAliveCountMax=3")


@dataclass(frozen=True)
class Host:
    """Another machine and how to get there.

    Attributes:
        destination: `[user@]host` or a name in `~/.ssh/config`.
        identity: the file of the private key to log in with; as ssh chooses if `None`.
        options: more options for ssh, as in its configuration: `Port=2222`.
        python: the command or path of Python there; relative paths start at the user's home.
        wait_s: how long to wait there while others measure, in seconds.
    """

    destination: str
    identity: Path | None = None
    options: tuple[str, ...] = ()
    python: str = "python3"
    wait_s: int = WAIT_S
    programs: ClassVar[tuple[str, ...]] = ("ssh", "scp")
    has_own_session: ClassVar[bool] = False  # ssh may have to ask the terminal for a password

    def __post_init__(self) -> None:
        if self.destination.startswith("-") or not _HOST.fullmatch(self.destination):
            raise UsageError(f"--host: expected [USER@]HOST, got `{self.destination}`")
        require_whole("--wait", self.wait_s, 0, MAX_WAIT_S)

    def running(self, words: Sequence[str], folder: Path) -> list[str]:
        """What to type to have Python run there with these words.

        Args:
            words: the arguments of Python.
            folder: a private one here, for the socket that ssh and scp share.
        """
        # Commands start in the user's home; a quoted tilde would not be expanded.
        python = self.python.replace("~/", "./", 1) if self.python[:2] == "~/" else self.python
        command = shlex.join([python, *words])
        return ["ssh", *self._options(folder), "-T", self.destination, command]

    def copying(self, path: Path, there: str, folder: Path) -> list[str]:
        """What to type to copy a file into the folder `there`; `folder` as in `running`."""
        name, colon, address = self.destination.rpartition("@")
        if ":" in address:  # an IPv6 address
            address = f"[{address}]"
        return ["scp", "-q", *self._options(folder), str(path), f"{name}{colon}{address}:{there}"]

    def _options(self, folder: Path) -> list[str]:
        # One connection for both: a password is asked once, and a copy ends with it.
        shared = ("ControlMaster=auto", f"ControlPath={folder / 's'}", "ControlPersist=no")
        if len(str(folder)) > _LONGEST_FOLDER:
            shared = ("ControlMaster=no", "ControlPath=none", "ControlPersist=no")
        pairs = (*self.options, *shared, *_ALIVE)
        options = [word for pair in pairs for word in ("-o", pair)]
        return [*options, "-i", str(self.identity)] if self.identity else options


@dataclass(frozen=True)
class ThisMachine(Host):
    """This machine, measured as a board is: by an agent of its own, in its turn."""

    destination: str = "this machine"
    python: str = sys.executable
    programs: ClassVar[tuple[str, ...]] = ("cp",)
    # Whoever kills our process and all that it started leaves the agent to clean up.
    has_own_session: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_whole("wait", self.wait_s, 0, MAX_WAIT_S)

    def running(self, words: Sequence[str], folder: Path) -> list[str]:
        """See `Host.running`; `-c` and a program come first."""
        option, program, *others = words
        # A worker has a share of the cores; what is measured is the machine.
        cores = "hasattr(os,'sched_setaffinity')and os.sched_setaffinity(0,range(os.cpu_count()))"
        program = f"import os;{cores};{program}"
        # -P: the folder that one happens to be in must not come before the standard library.
        return [self.python, "-P", option, program, *others]

    def copying(self, path: Path, there: str, folder: Path) -> list[str]:
        """See `Host.copying`."""
        return ["cp", str(path), there]
