"""Installing and signing while every system call fails or kills, one after the other, by strace.

    python tests/faults_strace.py [--errors EIO ...] [--only TASK]

A process for each, so it takes half a second a fault, and a hundred to three hundred faults a task.
"""

import argparse
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

from faults import Task, judge, outcome, parse_errors, report, states, tasks, without_engines

# What is no call to a file system, or fails only where memory ends; to be killed at, it is enough.
_NO_FILES = re.compile(
    "mmap|munmap|mremap|brk|madvise|mprotect|futex|rt_sig.*|sig.*|exit.*|getpid|gettid|"
    "clock_.*|getrandom|sched_.*|rseq|set_.*|wait4|clone.*|geteuid|getuid"
)
_BEGIN, _END = "/tinsmith-begins", "/tinsmith-ends"


def run_under_strace(
    name: str, task: Task, work: Path, errors: tuple[int | None, ...]
) -> tuple[int, list[str]]:
    """Has every system call of a task fail, in a process of its own for each."""
    ready, old, new = states(task, work)

    def act(*options: str) -> tuple[Path, int, str]:
        place, log = Path(tempfile.mkdtemp(dir=work)), work / "log"
        shutil.copytree(ready, place, dirs_exist_ok=True)
        words = ["strace", "-f", "-qq", "-o", str(log), *options, sys.executable, __file__]
        done = subprocess.run(
            [*words, "--act", name, str(work.parent), str(place)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
        )
        return place, done.returncode, log.read_text(errors="replace")

    _, status, text = act()
    assert status == 0, text[-2000:]
    calls = calls_between(text)
    assert len(calls) > 10, text[-2000:]
    count, wrong = 0, []
    for error in errors:
        for call, number in calls:
            if error is not None and _NO_FILES.fullmatch(call):
                continue
            how = "signal=KILL" if error is None else f"error={errno.errorcode[error]}"
            place, status, text = act(
                "-e", f"inject={call}:{how}:when={number}", "-e", f"trace={call}"
            )
            ended = {0: "done", 1: "told", 3: "warned", 137: "killed", -9: "killed"}.get(
                status, "raw"
            )
            what = f"{how} at {call} {number}"
            count += 1
            if ended == "raw":
                wrong.append(f"{what}: raw error, status {status}")
            if bad := judge(task, place, ended, old, new):
                wrong.append(f"{what}: bad state: {bad}")
            shutil.rmtree(place)
    return count, wrong


def calls_between(log: str) -> list[tuple[str, int]]:
    """The system calls of the action alone, each with which one of its name it was."""
    calls, seen, inside = [], Counter[str](), False
    for line, name in re.findall(r"^\d+ +((\w+)\(.*)$", log, re.MULTILINE):
        seen[name] += 1
        if _BEGIN in line or _END in line:
            inside = _BEGIN in line
        elif inside:
            calls.append((name, seen[name]))
    return calls


def act_once(name: str, things: Path, place: Path) -> int:
    """The child of `run_under_strace`: acts on a copy first, so that all is imported by then."""
    task = tasks(things)[name]
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(place, copy, dirs_exist_ok=True)
        task.act(Path(copy))
    Path(_BEGIN).exists()  # a system call that can be seen
    ended = outcome(lambda: task.act(place))
    Path(_END).exists()
    return {"done": 0, "told": 1, "warned": 3}.get(ended, 2)


def main() -> int:
    if sys.argv[1:2] == ["--act"]:
        with without_engines():
            return act_once(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    errors, only = parse_errors(argparse.ArgumentParser(description="when a system call fails"))
    return report(partial(run_under_strace, errors=errors), only)


if __name__ == "__main__":
    sys.exit(main())
