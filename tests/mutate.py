"""Breaks zips, manifests, golden arrays and images, and counts what their readers made of it.

`python mutate.py 30000` breaks 30,000 of each, `python mutate.py 30000 zip image` of these two.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import image_mutations
import mutations

HERE = Path(__file__).parent
GROUPS = (*mutations.GROUPS, "image")
PROCESSES = 2
# What a reader may make of what is broken.
RIGHT = ("refused", "unchanged", "changed", "read")
# What it may not: a traceback, a message that is not one clear line, a change that is not noticed,
# a file left behind, more than a minute, the death of the process.
WRONG = ("escaped", "unclear", "accepted", "stray", "hang", "crash")


def words_of(group: str, folder: str, first: int, count: int) -> list[str]:
    """The command that breaks so many."""
    if group == "image":
        return [image_mutations.__file__, folder, str(first), str(count)]
    # Every other share breaks a bundle of two inputs and two outputs.
    bundle = HERE / "data" / ("pair.tin" if first % 2 else "tiny.tin")
    words = [mutations.__file__, str(bundle), folder, str(first), str(count)]
    return [*words, *mutations.GROUPS[group]]


def count_outcomes(group: str, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Breaks `count` from seed `first` on; a process that dies is followed by another.

    Returns:
        How often each outcome came, and the seeds and words of the wrong ones.
    """
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    seed, end = first, first + count
    while seed < end:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-W", "error", *words_of(group, folder, seed, end - seed)],
                capture_output=True,
                text=True,
                cwd=folder,
                env={**os.environ, "TMPDIR": folder},
            )
        for line in done.stdout.splitlines():
            number, kind, *found = line.split("\t")
            if number.isdecimal() and found and found[0]:
                outcome = json.loads(found[0])["outcome"]
                outcomes[outcome] += 1
                if outcome not in RIGHT:
                    wrong.append(f"{group} {line}")
            if number.isdecimal() and kind != "kB grown":
                seed = int(number) + 1
        if done.returncode:
            outcome = "hang" if "Timeout (" in done.stderr else "crash"
            outcomes[outcome] += 1
            wrong.append(f"{group} seed {seed - 1}: {outcome}: {done.stderr[-500:]}")
    return outcomes, wrong


def main(count: int, groups: list[str]) -> int:
    from concurrent.futures import ThreadPoolExecutor

    share = -(-count // PROCESSES)
    total: Counter[str] = Counter()
    for group in groups or GROUPS:
        with ThreadPoolExecutor(PROCESSES) as pool:
            starts = [number * (share + 1) for number in range(PROCESSES)]
            found = list(pool.map(count_outcomes, [group] * PROCESSES, starts, [share] * PROCESSES))
        outcomes = sum((outcomes for outcomes, _ in found), Counter[str]())
        said = ", ".join(f"{outcomes[name]:,} {name}" for name in (*RIGHT, *WRONG))
        print(f"{group}: {outcomes.total():,} mutations: {said}", flush=True)
        for _, wrong in found:
            print("".join(f"  {line}\n" for line in wrong[:20]), end="", flush=True)
        total += outcomes
    return 1 if any(total[name] for name in WRONG) else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
