"""Boards that are real ssh servers on this machine; each keeps a log of what is measured."""

import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import sshd

# Runs in every Python of a board before anything else.
LOGGING = """
import atexit, os, sys, time
if "tinsmith_bench.remote.worker" in sys.orig_argv:
    def write(*words):
        with open({log!r}, "a") as file:
            print(*words, os.getpid(), file=file)
    begun = [line.split()[-1] for line in open({log!r}) if line.startswith("begin")]
    def runs(pid):
        try:
            return open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False
    write("begin", time.monotonic(), *(f"beside-{{pid}}" for pid in begun if runs(pid)))
    atexit.register(lambda: write("end", time.monotonic()))
"""


@dataclass(frozen=True)
class Emulated:
    """A board.

    Attributes:
        name: in `boards.toml`.
        server: its ssh server.
        python: the Python there, which keeps the log.
        log: a line when a measuring process begins and when it ends.
    """

    name: str
    server: sshd.Server
    python: Path
    log: Path

    def table(self, *, wait: int = 600) -> str:
        """Its part of `boards.toml`."""
        options = json.dumps(self.server.words()[1::2])
        return (
            f'[boards.{self.name}]\nhost = "127.0.0.1"\ntags = ["pi4"]\nwait = {wait}\n'
            f'remote-python = "{self.python}"\nssh-option = {options}\n'
        )

    def begun(self) -> list[list[str]]:
        """The words of each measuring process that began, in order."""
        lines = map(str.split, self.log.read_text().splitlines())
        return [words for words in lines if words[0] == "begin"]

    def is_measuring(self) -> bool:
        return any("remote.worker" in words for words in self.server.agents().values())

    def crash(self) -> None:
        """Ends as when its power does: the server, its sessions, and all that runs there."""
        self.server.process.send_signal(signal.SIGSTOP)  # it must not answer meanwhile
        for pid in self.server.sessions():
            os.kill(pid, signal.SIGKILL)
        while running := self.server.agents():
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.server.process.kill()
        self.server.process.wait()


def start(name: str, folder: Path, code: str = "") -> Emulated:
    """Starts a board.

    Args:
        name: its name.
        folder: an empty one.
        code: what each Python of the board runs first.

    Raises:
        sshd.MissingError: there is no sshd.
    """
    site, log, python = folder / "site", folder / "log", folder / "python"
    site.mkdir()
    log.touch()
    (site / "sitecustomize.py").write_text(LOGGING.format(log=str(log)) + code)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    home = folder / "sshd"
    home.mkdir()
    return Emulated(name, sshd.start(home), python, log)
