"""The two benchmarks against the bare engines say what they promise; how fast it is, they tell."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
needs_library = pytest.mark.skipif(
    find_spec("tinsmith_native") is None, reason="tinsmith-native is not installed"
)
NUMBER = r" *-?[0-9.]+ "


INSTALLED = find_spec("tinsmith_native") is not None


def _rows(stdout: str) -> tuple[list[str], list[str]]:
    """The rows of the table, and the lines below it."""
    title, *lines = stdout.splitlines()
    assert "in turn" in title
    assert lines[0].startswith("| engine | ")
    rows = [line for line in lines[2:] if line.startswith("|")]
    return rows, lines[2 + len(rows) :]


@pytest.mark.parametrize("kind", ["image", "features"])
def test_overhead(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, features: Path, kind: str
) -> None:
    bundle = tiny if kind == "image" else features
    done = child(BENCHMARKS / "overhead.py", bundle, "--calls", 50, "--batch", 2)
    assert (done.returncode, done.stderr) == (0, "")
    (lite, onnx), skipped = _rows(done.stdout)
    for row, engine in ((lite, "LiteRT"), (onnx, "ONNX Runtime")):
        assert re.fullmatch(rf"\| {engine} \S+ (\|{NUMBER}){{5}}\| (yes|no) \|", row)
    assert [line[: line.index(": ")] for line in skipped] == ["native is skipped"] * INSTALLED


@needs_library
def test_overhead_over_the_library(
    child: Callable[..., subprocess.CompletedProcess[str]], planned: Path
) -> None:
    done = child(BENCHMARKS / "overhead.py", planned, "--calls", 50)
    assert (done.returncode, done.stderr) == (0, "")
    rows, skipped = _rows(done.stdout)
    (row,) = (row for row in rows if "native" in row)
    assert re.fullmatch(rf"\| tinsmith native \S+ (\|{NUMBER}){{5}}\| (yes|no) \|", row)
    assert (len(rows), skipped) == (3, [])


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("name", ["tiny", pytest.param("planned", marks=needs_library)])
def test_startup(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, name: str
) -> None:
    done = child(BENCHMARKS / "startup.py", tiny.with_name(f"{name}.tin"), "--runs", 1)
    assert (done.returncode, done.stderr) == (0, "")
    rows, skipped = _rows(done.stdout)
    named = [tuple(row.split(" | ")[:2]) for row in rows]
    engines = ("litert", "onnx", "native")[: 3 if name == "planned" else 2]
    programs = ("bare", "runtime", "ratio")
    assert sorted(named) == sorted((f"| {engine}", one) for engine in engines for one in programs)
    assert all(re.fullmatch(rf"\| \w+ \| \w+ (\|{NUMBER}){{3}}\|", row) for row in rows)
    none = "native is skipped: the bundle holds no model.int8.plan for it"
    assert skipped == [none] * (INSTALLED and name == "tiny")
