from pathlib import Path

import pytest

from tinsmith_runtime.cli import main


@pytest.fixture(scope="session")
def cnn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `cnn` after six epochs on `digits` with seed 7."""
    out = tmp_path_factory.mktemp("train") / "runs" / "cnn"
    words = ["train", "--data", "digits", "--epochs", "6", "--seed", "7", "--quiet"]
    assert main([*words, "--out", str(out)]) == 0
    return out
