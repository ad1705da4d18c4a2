"""A text classifier with an Embedding, trained for a moment and compiled by `auto`.

`benchmarks/architectures.py` trains networks of all kinds.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/architectures.py"
# Not enough to be good at it: rounding has to keep what little there is.
SIZES = ("--train", "1500", "--evaluation", "400")


@pytest.mark.slow
def test_an_architecture() -> None:
    words = [sys.executable, str(SCRIPT), "text", *SIZES, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["parity"].keys() == {"onnx", "native"}
    assert all(parity["equal"] == 1 for parity in found["parity"].values())
    assert found["p"] > 0.05
    assert found["sqnr_db"] > 20
    assert all(found["kernels"].values())
