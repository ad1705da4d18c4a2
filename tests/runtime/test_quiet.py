import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Never

import pytest

from tinsmith_runtime import quiet
from tinsmith_runtime.quiet import mute_stderr

# Forks while another thread mutes; the child loads, predicts and has its standard error back.
# Should it hang, an alarm ends it.
FORK = """
import os, signal, sys, threading
import numpy
from tinsmith_runtime import load
from tinsmith_runtime.quiet import mute_stderr
muted, done = threading.Event(), threading.Event()
def mute():
    with mute_stderr():
        muted.set()
        done.wait()
thread = threading.Thread(target=mute)
thread.start()
muted.wait()
before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    after = len(os.listdir("/proc/self/fd")) if before else None
    assert before is None or after == before - 1, (before, after)
    load(sys.argv[1], sys.argv[2]).predict(numpy.zeros((1, 8, 8, 1), numpy.uint8))
    os.write(2, b"the child speaks")
    os._exit(0)
status = os.waitpid(pid, 0)[1]
done.set()
thread.join()
sys.exit(status)
"""


TraceFunction = Callable[[FrameType, str, Any], Any]


def test_nothing_gets_out(capfd: pytest.CaptureFixture[str]) -> None:
    with mute_stderr():
        os.write(2, b"a native library")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


def test_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), mute_stderr():
        raise ValueError("x")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


def test_threads_take_turns(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        for _ in range(50):
            with mute_stderr():
                os.write(2, b"a native library")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


def test_closed_stderr(child: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A daemon may have closed it."""
    script = """
import os, sys
os.close(2)
sys.stderr = None
from tinsmith_runtime.quiet import mute_stderr
with mute_stderr():
    print("done")
"""
    assert child("-c", script).stdout == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_while_a_thread_mutes(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, engine: str
) -> None:
    done = child("-c", FORK, tiny, engine)
    assert (done.returncode, done.stderr) == (0, "the child speaks")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_within(capfd: pytest.CaptureFixture[str]) -> None:
    """Who forks within goes on within, in both processes."""
    with mute_stderr():
        pid = os.fork()
        os.write(2, b"a native library")
    if pid == 0:
        with mute_stderr():
            os.write(2, b"a native library")
        os.write(2, b"ours")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    os.write(2, b" and ours")
    assert capfd.readouterr().err == "ours and ours"


def test_within_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """A signal handler may load a model while the program loads one."""
    with mute_stderr():
        with mute_stderr():
            os.write(2, b"a native library")
        os.write(2, b"a native library")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system has no /proc")
def test_interrupted_at_every_line(capfd: pytest.CaptureFixture[str]) -> None:
    """But for those that restore or do nothing: Python runs a handler where a call returns."""
    source = Path(quiet.__file__).read_text().splitlines()
    restoring = source.index("        finally:") + 1
    never = ("try:", "os.close(nothing)")
    descriptors = set(Path("/proc/self/fd").iterdir())

    def interrupt_at(line: int) -> TraceFunction:
        left = line

        def trace(frame: FrameType, event: str, argument: Any) -> TraceFunction | None:
            nonlocal left
            if frame.f_code.co_filename != quiet.__file__ or left == 0:
                return None
            if frame.f_code.co_name == "mute_stderr" and frame.f_lineno > restoring:
                left = 0
            elif event == "line" and source[frame.f_lineno - 1].strip() not in never:
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        return trace

    interrupted, before = 0, sys.gettrace()
    for line in range(1, 100):
        try:
            sys.settrace(interrupt_at(line))
            with mute_stderr():
                os.write(2, b"a native library")
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(before)
        os.write(2, b".")
    assert interrupted > 8
    assert capfd.readouterr().err == "." * 99
    assert len(set(Path("/proc/self/fd").iterdir())) == len(descriptors)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_interrupted_at_any_time(capfd: pytest.CaptureFixture[str]) -> None:
    def stop(number: int, frame: FrameType | None) -> Never:
        raise KeyboardInterrupt

    old, interrupted = signal.signal(signal.SIGALRM, stop), 0
    try:
        for turn in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + turn * 1e-6)
                while True:
                    with mute_stderr():
                        os.write(2, b"a native library")
            except KeyboardInterrupt:
                interrupted += 1
            os.write(2, b".")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupted == 300
    assert capfd.readouterr().err == "." * 300
