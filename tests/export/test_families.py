"""Other people's architectures, as `benchmarks/families.py` compiles them: the smaller ones."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def row(model: str) -> dict[str, Any]:
    words = [sys.executable, BENCHMARKS / "families.py", model, "--recipe", "ptq", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert all(kernel.startswith(("QLinear", "QGemm")) for kernel in found["kernels"])
    return found


@pytest.mark.parametrize(
    "family", ["MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "RegNetX002"]
)
def test_a_family(family: str) -> None:
    found = row(family)
    assert found["within_1"] >= 0.95
    assert found["float_share"] < 0.4


def test_the_dense_autoencoder() -> None:
    found = row("autoencoder")
    assert found["kernels"] == {"QGemm": 10}
    assert found["equal"] == 1
    assert found["float_share"] <= 0.3
    assert found["sqnr_db"] > 30


def test_an_unknown_family_is_a_mistake() -> None:
    words = [sys.executable, BENCHMARKS / "families.py", "VGG99"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown: VGG99; known: VGG16, " in done.stderr
