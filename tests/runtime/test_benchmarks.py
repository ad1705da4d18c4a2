"""The two benchmarks against the bare engines say what they promise; how fast it is, they tell."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NUMBER = r" *-?[0-9.]+ "


def _rows(stdout: str) -> list[str]:
    title, *rows = stdout.splitlines()
    assert "in turn" in title
    assert rows[0].startswith("| engine | ")
    return rows[2:]


@pytest.mark.parametrize("kind", ["image", "features"])
def test_overhead(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, features: Path, kind: str
) -> None:
    bundle = tiny if kind == "image" else features
    done = child(BENCHMARKS / "overhead.py", bundle, "--calls", 50, "--batch", 2)
    assert (done.returncode, done.stderr) == (0, "")
    lite, onnx = _rows(done.stdout)
    for row, engine in ((lite, "LiteRT"), (onnx, "ONNX Runtime")):
        assert re.fullmatch(rf"\| {engine} \S+ (\|{NUMBER}){{5}}\| (yes|no) \|", row)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_startup(child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path) -> None:
    done = child(BENCHMARKS / "startup.py", tiny, "--runs", 1)
    assert (done.returncode, done.stderr) == (0, "")
    rows = _rows(done.stdout)
    named = [tuple(row.split(" | ")[:2]) for row in rows]
    programs = ("bare", "runtime", "ratio")
    assert named == [(f"| {engine}", name) for engine in ("litert", "onnx") for name in programs]
    assert all(re.fullmatch(rf"\| \w+ \| \w+ (\|{NUMBER}){{3}}\|", row) for row in rows)
