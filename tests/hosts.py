"""Hosts to run programs on: network namespaces with a table of processes of their own.

Where the system allows none, a host is a plain process of this machine.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """Where a program runs.

    Attributes:
        prefix: What stands before its command.
        sees: The address of the machine that runs the tests, as the host sees it.
    """

    prefix: tuple[str, ...]
    sees: str


def can_make_namespaces() -> bool:
    """Whether this process may make hosts that are apart."""
    if os.getuid() or not shutil.which("ip") or not shutil.which("unshare"):
        return False
    name = f"tinsmith-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    words = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Gives hosts; a host's program dies with the process that was started."""
    if not can_make_namespaces():
        yield [Host((), "127.0.0.1")] * count
        return
    made, found = [], []
    try:
        for index in range(count):
            name = f"tinsmith-{os.getpid()}-{index}"
            _ip(f"netns add {name}")
            made.append(name)
            cable = f"t{os.getpid() % 10_000_000}x{index}"
            net = f"10.{random.randrange(128, 255)}.{random.randrange(256)}"
            _ip(f"link add {cable} type veth peer name eth0 netns {name}")
            _ip(f"addr add {net}.1/24 dev {cable}")
            _ip(f"link set {cable} up")
            _ip(f"-n {name} addr add {net}.2/24 dev eth0")
            _ip(f"-n {name} link set eth0 up")
            apart = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
            found.append(Host(("ip", "netns", "exec", name, *apart), f"{net}.1"))
        yield found
    finally:
        for name in made:
            _ip(f"netns del {name}")
