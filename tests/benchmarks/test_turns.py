"""Agents on one board: one measures at a time, in the order of their coming, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from narrow import some

from tinsmith_bench.remote import agent

Agent = subprocess.Popen[str]
Start = Callable[..., Agent]

TEXT = Path(agent.__file__).read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts agents on one board; nothing may be left there when their workstations are gone."""
    started: list[Agent] = []

    def start(name: str = "anna@laptop", text: str = TEXT) -> Agent:
        words = [sys.executable, "-c", text, f"{agent.MARK}{name}"]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            some(process.stdin).close()
            process.wait(20)


def _hear(process: Agent) -> tuple[str, Any]:
    line = some(process.stdout).readline().removeprefix(agent.MARK)
    ((kind, fields),) = json.loads(line).items()
    return kind, fields


def _tell(process: Agent, line: str) -> None:
    some(process.stdin).write(f"{line}\n")
    some(process.stdin).flush()


def _order(process: Agent, folder: Path, code: str) -> None:
    """Has it run this Python, as a measuring process."""
    with zipfile.ZipFile(folder / "payload.zip", "w") as archive:
        archive.writestr("empty", b"")
    _tell(process, json.dumps({"payload": "payload.zip", "code": ".", "words": ["-c", code]}))


def _wait_for_line(folder: Path, length: int) -> None:
    """Waits until so many stand in line: they say so right before."""
    inode, end = str(folder.stat().st_ino), time.monotonic() + 20
    while time.monotonic() < end:
        lines = Path("/proc/locks").read_text().splitlines()
        if sum("->" in line and f":{inode} " in line for line in lines) == length:
            return
        time.sleep(0.02)
    raise AssertionError(f"{length} in line: {lines}")


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_the_turn_goes_to_who_has_waited_longest(start: Start, tmp_path: Path, end: str) -> None:
    first = start("anna@laptop")
    assert [_hear(first)[0] for _ in range(2)] == ["arrived", "turn"]
    others = []
    for name in ("ben", "cleo\x1b[2J"):
        others.append(start(name))
        assert _hear(others[-1])[0] == "arrived"
        assert _hear(others[-1]) == ("waiting", {"holder": "anna@laptop"})
        _wait_for_line(tmp_path, len(others))
    if end == "leaves":
        some(first.stdin).close()
    else:
        first.kill()
    kind, fields = _hear(others[0])
    assert kind == "turn"
    assert fields["waited_s"] > 0
    late = start("dora")
    assert [_hear(late) for _ in range(2)][1] == ("waiting", {"holder": "ben"})
    _wait_for_line(tmp_path, 2)
    others[0].kill()
    assert _hear(others[1])[0] == "turn"
    some(late.stdin).close()  # who waits may leave


def test_the_measuring_process_keeps_the_turn_of_an_agent_that_was_killed(start: Start) -> None:
    first = start()
    folder = Path(_hear(first)[1]["folder"])
    assert _hear(first)[0] == "turn"
    _order(first, folder, "import sys, time; print('x', file=open('ready', 'w')); time.sleep(1)")
    while not (folder / "ready").exists():
        time.sleep(0.02)
    first.kill()
    first.wait()
    begin = time.monotonic()
    second = start("ben")
    assert [_hear(second) for _ in range(2)][1] == ("waiting", {"holder": "somebody"})
    assert _hear(second)[0] == "turn"
    assert time.monotonic() - begin > 0.3


def test_nothing_is_begun_before_the_turn(start: Start) -> None:
    first = start()
    assert [_hear(first)[0] for _ in range(2)] == ["arrived", "turn"]
    second = start("ben")
    folder = Path(_hear(second)[1]["folder"])
    assert _hear(second)[0] == "waiting"
    _order(second, folder, "print('measuring')")
    assert _hear(second) == (
        "agent_failed",
        {"error": "ValueError: expected no order before its turn"},
    )
    assert second.wait(20) == 0
    assert not folder.exists()


def test_a_message_that_nobody_takes_keeps_no_turn(start: Start) -> None:
    """A workstation without power takes nothing, and its connection does not end."""
    short = TEXT.replace("SILENCE_S = 60", "SILENCE_S = 1")
    assert short != TEXT
    first = start(text=short)
    folder = Path(_hear(first)[1]["folder"])
    assert _hear(first)[0] == "turn"
    fill = "import fcntl, os, sys; to = int(sys.argv[1]); size = fcntl.fcntl(to, 1032)"
    _order(first, folder, f"{fill}; os.write(to, bytes(size))")  # F_GETPIPE_SZ: the pipe is full
    second = start("ben")
    assert [_hear(second)[0] for _ in range(3)] == ["arrived", "waiting", "turn"]
    assert first.wait(20) == 1
    assert not folder.exists()


def test_a_folder_that_cannot_be_locked_is_said(start: Start) -> None:
    broken = TEXT.replace("fcntl.LOCK_EX | fcntl.LOCK_NB", "0")  # flock(2): EINVAL
    assert broken != TEXT
    process = start(text=broken)
    assert _hear(process)[0] == "arrived"
    kind, fields = _hear(process)
    assert kind == "agent_failed"
    assert "cannot be locked: [Errno 22]" in fields["error"]
    assert process.wait(20) == 0


def test_a_signal_ends_who_waits(start: Start) -> None:
    first = start()
    assert [_hear(first)[0] for _ in range(2)] == ["arrived", "turn"]
    second = start("ben")
    folder = Path(_hear(second)[1]["folder"])
    assert _hear(second)[0] == "waiting"
    second.send_signal(signal.SIGTERM)
    second.wait(20)
    assert not folder.exists()
