"""`benchmarks/native.py`: what it counts, compares and writes."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from native_plans import plans_of_every_kind

from engines import Engine, native
from native import Row, Times, equal_to_litert, macs_of, measure, profile, random_codes, table
from pages import write_between
from tinsmith_export.targets.native.plan import write_plan
from tinsmith_runtime import TinsmithError, UsageError

ROOT = Path(__file__).parents[2]


def test_multiplications_of_a_plan() -> None:
    # 3 x 2 x 4 weights for each of 5 x 6 pixels of 3 channels.
    assert macs_of(write_plan(plans_of_every_kind()["product"])) == 3 * 2 * 4 * 3 * 5 * 6


def engines(*, off: int = 0) -> list[Engine]:
    added = {"LiteRT int8": 0, "ORT int8": 1, "native": off}
    found = [Engine(name, lambda: None, partial(np.add, np.int8(n))) for name, n in added.items()]
    return [Engine("ORT float", lambda: None), *found]


def test_engines_are_compared_and_timed() -> None:
    equal = equal_to_litert(engines(), (1, 5))
    assert equal == {"ORT float": None, "LiteRT int8": True, "ORT int8": False, "native": True}
    times = measure(engines(), equal, 2)
    assert [one.equal for one in times.values()] == list(equal.values())
    assert all(0 < one.best_us <= one.median_us for one in times.values())


def test_a_native_that_differs_is_an_error() -> None:
    with pytest.raises(TinsmithError, match="LiteRT's codes"):
        equal_to_litert(engines(off=1), (1, 5))


def test_table() -> None:
    times = {
        "LiteRT float": Times(20.0, 30.0, None),
        "LiteRT int8": Times(40.0, 50.0, True),
        "ORT int8": Times(15.0, 20.0, False),
        "native": Times(10.0, 1234.0, True),
    }
    lines = table([Row("m", 1, 500_000, times), Row("n", 1, 500_000, times)], 100.0).splitlines()
    assert lines[2] == (
        "| m | 0.50 | 1 | 20.0 (30.0) | 40.0 (50.0) | 15.0 (20.0) ≠ | **10.0** (1,234) "
        "| 50.0 | 50 % | 1.50 | 4.00 |"
    )
    assert lines[-1].endswith("| 1.50 | 4.00 |")


def test_native_runs_alone() -> None:
    pytest.importorskip("tinsmith_native")
    plan = write_plan(plans_of_every_kind()["network"])
    codes = random_codes(plan)
    engine = native(plan, codes, 1, "native")
    engine.call()
    assert engine.answer is not None
    assert engine.answer(codes).dtype == np.int8
    assert "max pool" in profile("network", plan, 1, 2)


def test_text_between_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# A\n\n<!-- measured: x -->\nold\n<!-- end of what was measured -->\nrest\n")
    write_between(path, "x", "new\n")
    write_between(path, "x", "newer\n")
    assert path.read_text() == (
        "# A\n\n<!-- measured: x -->\n\nnewer\n\n<!-- end of what was measured -->\nrest\n"
    )
    with pytest.raises(UsageError, match="measured: y"):
        write_between(path, "y", "new\n")


@pytest.mark.parametrize("word", ["eight.tin", f"eight={ROOT / 'tests/data/eight.tin'}"])
def test_a_bundle_without_a_plan(word: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/native.py"), word]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "expected NAME=BUNDLE" in done.stderr or "--targets tflite,onnx,native" in done.stderr
