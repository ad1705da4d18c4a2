import os
import threading

import pytest

from tinsmith_runtime.quiet import mute_stderr


def test_nothing_gets_out(capfd):
    with mute_stderr():
        os.write(2, b"a native library")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


def test_back_after_an_error(capfd):
    with pytest.raises(ValueError, match="x"), mute_stderr():
        raise ValueError("x")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


def test_threads_take_turns(capfd):
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


def test_closed_stderr(child):
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
