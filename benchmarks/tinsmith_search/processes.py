"""What this machine says of its processes, its cores and its memory (Linux)."""

import ctypes
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinsmith_data.interrupts import interrupt_once

# What TensorFlow, OpenMP and BLAS make their pools of threads from.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def this_machine() -> str:
    """Names this running kernel and this table of processes: a container has its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode()}"


def started(process: int) -> str:
    """Gives when a process began, in clock ticks since the machine did; `""` if it has ended."""
    fields = stat_fields(Path(f"/proc/{process}/stat"))
    # A zombie has ended.
    return "" if not fields or fields[0] in "ZX" else fields[19]


def cores_of(workers: int) -> list[frozenset[int]]:
    """Deals the cores that this process may use out to workers; each has at least one."""
    cores = sorted(os.sched_getaffinity(0))
    if workers >= len(cores):
        return [frozenset({cores[i % len(cores)]}) for i in range(workers)]
    return [frozenset(cores[i::workers]) for i in range(workers)]


@contextmanager
def sharing(cores: frozenset[int]) -> Iterator[None]:
    """Lets a process that is started meanwhile have these cores, and as many threads."""
    before = os.sched_getaffinity(0)
    variables = {name: os.environ.get(name) for name in _THREADS}
    os.sched_setaffinity(0, cores)
    os.environ.update(dict.fromkeys(_THREADS, str(len(cores))))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        for name, value in variables.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def available_bytes() -> int:
    """Gives this machine's memory, or what its container may have of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            total = min(total, int(Path("/sys/fs/cgroup", limit).read_text("ascii")))
    return total


def used_bytes(session: int) -> int:
    """Gives the resident memory of a worker and of all that it has started, its session."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat_fields(stat)
        if fields and fields[3] == str(session):
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stat_fields(stat: Path) -> list[str]:
    """Gives what `/proc/PID/stat` says behind the name, which may hold spaces; nothing if it ended.

    So the first is the third of `proc(5)`.
    """
    try:
        return stat.read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def lead_a_session(parent: int) -> None:
    """Lets what this process starts be found by `used_bytes`; ends this process with its parent.

    Raises:
        SystemExit: the parent has ended already.
    """
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(1)


def kill(session: int) -> None:
    """Kills a process and all that it has started, if it leads a session."""
    with suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(session, signal.SIGKILL)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Lets the first SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""
    try:
        before = signal.signal(signal.SIGTERM, interrupt_once)
    except ValueError:  # Not the main thread: signals are somebody else's business.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Lets a process that is started meanwhile ignore Ctrl-C, which its parent hands on."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
