"""Attention, recurrence, resizing and their kind, trained for a moment, compiled and compared."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/architectures.py"
# Not enough to be good at it: rounding has to keep what little there is.
SIZES = ("--train", "1500", "--evaluation", "400")


def row(network: str) -> dict[str, Any]:
    words = [sys.executable, str(SCRIPT), network, *SIZES, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vit", "text"])
def test_an_architecture(network: str) -> None:
    found = row(network)
    assert found["parity"].keys() == {"onnx", "native"}
    for parity in found["parity"].values():
        assert parity["equal"] == 1 or (network == "vit" and parity["equal"] > 0.95), parity
    assert found["p"] > 0.05
    assert found["sqnr_db"] > 20
    assert all(found["kernels"].values())
