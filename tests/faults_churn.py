"""Installs, trials and rollbacks that are killed at random, while workers load the folder.

    python tests/faults_churn.py [--rounds 2000] [--seed 0]

Prints how many rounds were killed, how many changed the folder, how many loads there were, and what
was wrong: a load that failed, or a folder in another state than before or after.
"""

import argparse
import contextlib
import functools
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults import Fault, look_at, make_bundles, outcome, without_engines

from tinsmith_runtime import load
from tinsmith_runtime.bundle.installation import read_installation
from tinsmith_runtime.deploy.install import install, rollback
from tinsmith_runtime.deploy.trial import boot, confirm


def churn(work: Path, rounds: int, seed: int, workers: int = 2) -> tuple[dict[str, int], list[str]]:
    """Kills one step after the other, at random, while workers load the folder without pause."""
    rng, bundles = random.Random(seed), make_bundles(work, 4)
    home, twin = work / "home", work / "twin"
    install(bundles[0], home)
    stop, report = os.pipe(), os.pipe()
    children = []
    for _ in range(workers):
        if not (child := os.fork()):
            os.close(stop[1])
            os.set_blocking(stop[0], False)
            _load_until_stopped(home, stop[0], report[1])
        children.append(child)
    counts, wrong = {"rounds": 0, "killed": 0, "changed": 0}, []
    for number in range(rounds):
        allowed: dict[str, Any] = {"allow_downgrade": True, "allow_failed": True}
        bundle, confirmed = rng.choice(bundles), rng.random() < 0.7
        put = functools.partial(install, bundle, confirm=confirmed, **allowed)
        acts: list[Callable[[Path], object]] = [put, put, boot, boot, confirm, rollback]
        act = rng.choice(acts)
        shutil.rmtree(twin, ignore_errors=True)
        before = look_at(work)
        shutil.copytree(home, twin)
        _in_child(functools.partial(act, twin), None)
        expected = read_installation(twin)
        status = _in_child(functools.partial(act, home), rng.randrange(200))
        after = read_installation(home)
        counts["rounds"] += 1
        counts["killed"] += status == -signal.SIGKILL
        counts["changed"] += after != before[0]
        if status not in (0, 1, -signal.SIGKILL):
            wrong.append(f"round {number}: ended with status {status}")
        if after not in (before[0], expected) or (status == 0 and after != expected):
            wrong.append(f"round {number}: {after} from {before[0]}, expected {expected}")
        look_at(work)
    os.close(stop[0])
    os.close(stop[1])
    os.close(report[1])
    with os.fdopen(report[0]) as lines:
        said = lines.read().splitlines()
    for child in children:
        os.waitpid(child, 0)
    counts["loads"] = sum(int(line) for line in said if line.isdecimal())
    return counts, wrong + [line for line in said if not line.isdecimal()]


def _load_until_stopped(home: Path, stop: int, report: int) -> None:
    loads = 0
    while True:
        with contextlib.suppress(BlockingIOError):
            os.read(stop, 1)  # its end is the end
            break
        try:
            load(home).close()
            loads += 1
        except BaseException as error:
            os.write(report, f"a load failed: {error}\n".encode())
    os.write(report, f"{loads}\n".encode())
    os._exit(0)


def _in_child(act: Callable[[], object], number: int | None) -> int:
    """Acts in a child, which is killed before its call of that number; gives its exit status."""
    if not (child := os.fork()):
        fault = Fault(1 << 30 if number is None else number, None)
        fault.strike = _kill_at(fault)  # type: ignore[method-assign, assignment]
        with fault.armed():
            ended = outcome(act)
        os._exit({"done": 0, "warned": 0, "told": 1}.get(ended, 2))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_at(fault: Fault) -> Callable[[str], None]:
    def strike(_: str) -> None:
        fault.left -= 1
        if fault.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def main() -> int:
    parser = argparse.ArgumentParser(description="killed at random, while workers load")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, without_engines():
        counts, wrong = churn(Path(folder), arguments.rounds, arguments.seed)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    print("\n".join([*wrong, f"{len(wrong)} wrong"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
