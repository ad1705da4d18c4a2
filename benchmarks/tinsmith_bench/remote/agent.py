"""Runs on the board while it is measured over ssh, and removes all it wrote.

`ssh.py` sends the text of this file through ssh to the Python that is there, so it imports the
standard library alone. Its arguments are `MARK` with the name of who measures, and the
distributions that the workstation wants to know of.

Standard input comes from the workstation: a line of JSON is an order, an empty line says that it
is still there. When it ends, or is silent for too long, whatever was started is killed and the
one folder that was made is removed. Standard output carries the messages of `say`; the measuring
process is given a descriptor of its own for these, so that nothing which an engine prints comes
among them. What a message holds, `messages.py` says.

Who measures has the turn: an exclusive `flock` of the folder for temporary files itself. Nothing
has to be written for it, every user may take it, and the kernel gives it to who has waited longest.
It ends with the last process that holds it, however that ends. The measuring process holds it too,
in case the agent dies first.
"""

import contextlib
import fcntl
import json
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import IO, Any

# A login shell may print whatever it likes into the same channel.
MARK = "@tinsmith "
# A line comes every 10 s; from a network cable that is pulled comes nothing, not even an end.
SILENCE_S = 60
# Of who measures, in a command line.
LONGEST_NAME = 100
# Of an error or a last line, in a message.
LONGEST_WORDS = 2000
# Of what a program prints: enough to know what ended it.
LONGEST_TAIL = 1 << 16
# An order is a few hundred bytes.
LONGEST_ORDER = 100_000

# The last one is the agent's own, for a message that nobody takes.
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGALRM)

Events = queue.Queue[Any]
"""Lines of the workstation, messages to it as `(kind, fields)`, or `None`: nobody is there."""


def say(kind: str, channel: int = 1, **fields: object) -> None:
    """Sends the workstation one message, through this descriptor."""
    line = memoryview(f"{MARK}{json.dumps({kind: fields})}\n".encode())
    while line:
        line = line[os.write(channel, line) :]


def words(text: str) -> str:
    """Text as a message may hold it: one line that fits and steers no terminal."""
    line = "".join(c if c.isprintable() else " " for c in text.strip())
    return line[-LONGEST_WORDS:]


class Tail:
    """Reads a pipe to its end, so that its writer never waits, and keeps the last of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        # The reader's own, to close at the end: a process that outlives its parent may delay it.
        self._descriptor = os.dup(stream.fileno())
        stream.close()
        self._kept = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def text(self) -> str:
        """What is kept; waits a second for the end."""
        self._reader.join(1)
        return self._kept.decode("utf-8", "replace")

    def last_line(self) -> str:
        """The last line that is not empty; empty if there is none."""
        return (self.text().strip().splitlines() or [""])[-1].strip()[-LONGEST_WORDS:]

    def _read(self) -> None:
        while piece := os.read(self._descriptor, 1 << 16):
            self._kept = (self._kept + piece)[-LONGEST_TAIL:]
        os.close(self._descriptor)


def facts(folder: Path, distributions: list[str]) -> dict[str, Any]:
    """What has to be known before anything is copied; also which of these are installed."""
    versions = {}
    for name in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "folder": str(folder),
        "free_bytes": shutil.disk_usage(folder).free,
        "python": platform.python_version(),
        "executable": sys.executable,
        "architecture": platform.machine(),
        "packages": versions,
    }


def listen(events: Events) -> None:
    """Passes on the workstation's lines, and `None` when there will be no more."""
    while line := sys.stdin.readline(LONGEST_ORDER):
        events.put(line.strip())
    events.put(None)


def holder(folder: Path) -> str:
    """Who has the turn, as the command line of that agent says; `somebody` if that is not known.

    See `proc_locks(5)`: `1: FLOCK ADVISORY WRITE 4711 fe:00:123 0 EOF`; a waiter has an arrow.
    """
    inode = str(folder.stat().st_ino)
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text("ascii", "replace").splitlines():
            fields = line.split()
            if fields[1:2] == ["FLOCK"] and fields[5:] and fields[5].split(":")[-1] == inode:
                command = Path(f"/proc/{fields[4]}/cmdline").read_bytes().decode("utf-8", "replace")
                for word in command.split("\0"):
                    if word.startswith(MARK):
                        return words(word.removeprefix(MARK))[:LONGEST_NAME]
    return "somebody"


def stand_in_line(folder: Path, events: Events) -> int:
    """Waits in a thread for the turn, and tells; gives the descriptor that will hold it."""
    turn = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    def wait() -> None:
        begin = time.monotonic()
        try:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                events.put(("waiting", {"holder": holder(folder)}))
                fcntl.flock(turn, fcntl.LOCK_EX)
            events.put(("turn", {"waited_s": time.monotonic() - begin}))
        except OSError as error:  # a file system without locks
            events.put(("agent_failed", {"error": words(f"{folder} cannot be locked: {error}")}))

    threading.Thread(target=wait, daemon=True).start()
    return turn


def unpack(payload: Path, folder: Path) -> None:
    """Unpacks what was copied, into this folder and nowhere else."""
    with zipfile.ZipFile(payload) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > (free := shutil.disk_usage(folder).free):
            raise OSError(f"{size} bytes are to be unpacked, {free} are free")
        for name in archive.namelist():
            if name.startswith("/") or ".." in name.split("/") or "\\" in name:
                raise OSError(f"expected names inside the folder, got {name!r}")
        archive.extractall(folder)
    payload.unlink()


def start(
    folder: Path, order: dict[str, Any], events: Events, turn: int
) -> "subprocess.Popen[bytes]":
    """Unpacks what was copied and starts the measuring process, in a process group of its own."""
    unpack(folder / order["payload"], folder)
    paths = filter(None, (str(folder / order["code"]), os.environ.get("PYTHONPATH")))
    environment = {"TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    channel = os.dup(1)
    worker = subprocess.Popen(
        [sys.executable, *order["words"], str(channel)],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=[channel, turn],
    )
    os.close(channel)
    assert worker.stdout
    printed = Tail(worker.stdout)

    def wait() -> None:
        status = worker.wait()
        events.put(("ended", {"status": status, "last_words": words(printed.last_line())}))

    threading.Thread(target=wait, daemon=True).start()
    return worker


def clean_up(folder: Path, worker: "subprocess.Popen[bytes] | None") -> None:
    """Kills what was started and removes what was made."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if worker:
        with contextlib.suppress(OSError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    for _ in range(50):  # a copy that is being broken off may still add to the folder
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def serve() -> None:
    """Stays until the work is done or the workstation is gone."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(1))
    events: Events = queue.Queue()
    worker, has_turn = None, False
    try:
        folder = Path(tempfile.mkdtemp(prefix="tinsmith-"))
    except OSError as error:
        say("agent_failed", error=words(f"no folder can be made there: {error}"))
        return
    try:
        say("arrived", **facts(folder, sys.argv[2:]))
        turn = stand_in_line(folder.parent, events)
        threading.Thread(target=listen, args=(events,), daemon=True).start()
        while (event := events.get(timeout=SILENCE_S)) is not None:
            if isinstance(event, tuple):
                kind, fields = event
                signal.alarm(SILENCE_S)  # a connection that is cut takes nothing, and does not end
                say(kind, **fields)
                signal.alarm(0)
                if kind in ("ended", "agent_failed"):
                    return
                has_turn |= kind == "turn"
            elif event and not has_turn:
                raise ValueError("expected no order before its turn")
            elif event:
                worker = start(folder, json.loads(event), events, turn)
    except queue.Empty:
        return
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        say("agent_failed", error=words(f"{type(error).__name__}: {error}"))
    finally:
        clean_up(folder, worker)


if __name__ == "__main__":
    serve()
