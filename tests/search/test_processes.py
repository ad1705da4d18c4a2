"""A machine's cores, memory and processes, as a search deals them out."""

import os
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from tinsmith_search.processes import (
    available_bytes,
    cores_of,
    kill,
    sharing,
    started,
    used_bytes,
)


@given(st.integers(1, 200))
def test_all_cores_are_dealt_out(workers: int) -> None:
    mine, shares = os.sched_getaffinity(0), cores_of(workers)
    assert len(shares) == workers
    assert all(shares)
    if workers <= len(mine):
        assert sorted(core for share in shares for core in share) == sorted(mine)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert {len(share) for share in shares} == {1}


def test_a_started_process_has_its_share_and_this_one_keeps_all() -> None:
    before, variables = os.sched_getaffinity(0), dict(os.environ)
    core = min(before)
    code = "import os; print(os.sched_getaffinity(0), os.environ['TF_NUM_INTRAOP_THREADS'])"
    with sharing(frozenset({core})):
        told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told == f"{{{core}}} 1\n"
    assert (os.sched_getaffinity(0), dict(os.environ)) == (before, variables)


def test_memory_and_life_of_a_process_and_its_children_are_seen() -> None:
    child = "import time; x = b'x' * 50_000_000; print(flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 50_000_000 < used_bytes(process.pid) < available_bytes()
        assert started(process.pid) == started(process.pid) != started(os.getpid())
        kill(process.pid)
        process.wait()
    end = time.monotonic() + 10
    while used_bytes(process.pid):  # The child is killed too, and somebody reaps it.
        assert time.monotonic() < end
        time.sleep(0.05)
    assert started(process.pid) == ""
    kill(process.pid)
