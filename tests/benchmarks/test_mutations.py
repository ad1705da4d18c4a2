"""Reports of strangers: whatever is in them, one line says what is wrong, or they can be shown.

`python tests/benchmarks/test_mutations.py 30000` tries more.
"""

import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tinsmith_bench import parse_report
from tinsmith_bench.gates.compare import moves, moves_table
from tinsmith_bench.gates.gate import judge, parse_gate
from tinsmith_bench.rendering.markdown import markdown
from tinsmith_bench.rendering.terminal import open_terminal, print_report, print_table
from tinsmith_bench.report_data import Report
from tinsmith_runtime import InputError

REPORT = Path(__file__).parents[2] / "docs" / "mnist.json"
GATES = ("latency_us_p50 > 1.1x", "accuracy < -0.2pp", "size_bytes > 50000", "start_ms > 2x")
VALUES: tuple[object, ...] = (
    *(None, True, "", "x", "\x1b[2J", "\ud800", [], {}, [[]], {"value": 1}, -1, 0, 1, 2, 101, 0.5),
    *(2**53, 10**17, -(10**17), 1e-320, 1e308, -1e308, float("nan"), float("inf"), "9" * 5000),
)


def mutated(tree: Any, rng: random.Random) -> bytes:
    """One to three changes anywhere in a tree, and then perhaps in its text."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, 3)):
        parents = [tree]
        for parent in parents:
            inner = parent.values() if isinstance(parent, dict) else parent
            parents += [each for each in inner if isinstance(each, dict | list) and each]
        parent = rng.choice(parents)
        key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.append(parent[key])
        elif kind == 2 and isinstance(parent[key], int | float):
            parent[key] *= rng.choice((-1, 0, 0.5, 1.0001, 2, 1000))
        else:
            parent[key] = rng.choice(VALUES)
    data = bytearray(json.dumps(tree).encode())
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        position = rng.randrange(len(data))
        data[position : position + rng.randrange(3)] = rng.choice(
            (b"", b"\xff", b"[" * 2000, b"9" * 30, b'"', b",", b'{"a":1,"a":2}', b"NaN", b"\0")
        )
    return bytes(data)


def try_one(data: bytes, good: Report) -> bool:
    """Whether a report was taken, and then shown everywhere; a refusal is one short line."""
    try:
        report = parse_report(data, "it")
    except InputError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert said.isprintable()
        assert len(said) < 2000
        return False
    terminal = open_terminal(io.StringIO())
    print_report(report, terminal)
    markdown(report)
    for old, new in ((good, report), (report, good)):
        print_table(moves_table(moves(old, new)[0]), terminal)
        judge([parse_gate(text) for text in GATES], old, new)
    return True


def try_many(count: int, seed: int) -> int:
    """How many of so many mutations were refused."""
    tree, good = json.loads(REPORT.read_bytes()), parse_report(REPORT.read_bytes())
    rng = random.Random(seed)
    return sum(not try_one(mutated(tree, rng), good) for _ in range(count))


def test_mutations_end_in_one_line_or_a_report() -> None:
    assert 50 < try_many(100, seed=0) <= 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"cores": 2', b'"cores": 0', "machine.cores: expected a number from 1"),
        (b'"seed": 0', b'"seed": 0, "seed": 0', "the key 'seed' stands twice"),
        (b'"seed": 0', b'"seed": NaN', "expected a finite number, got NaN"),
        (b'"seed": 0', b'"seed": ' + b"9" * 5000, "expected whole numbers up to 2"),
        (b'"seed": 0', b'"seed": 1e999', "method.seed: expected a whole number"),
        (b'"seed": 0', b'"seed": ' + b"[" * 100_000, "lie too deep"),
    ],
)
def test_what_a_report_must_not_hold(old: bytes, new: bytes, message: str) -> None:
    data = REPORT.read_bytes()
    assert data.count(old) == 1
    with pytest.raises(InputError, match=message):
        parse_report(data.replace(old, new))


if __name__ == "__main__":
    total = int(sys.argv[1])
    print(f"{total} mutated reports: {try_many(total, seed=1)} refused in a line, 0 tracebacks")
