import os
from pathlib import Path

import pytest

from tinsmith_runtime.command import main
from tinsmith_train import Dataset, load_dataset


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    root = os.environ.get("TINSMITH_DATA")
    if root and Path(root, "mnist").is_dir():
        return load_dataset("mnist")
    reason = "no MNIST: TINSMITH_DATA must name a folder that holds mnist/"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def cnn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `cnn` after six epochs on `digits` with seed 7."""
    out = tmp_path_factory.mktemp("train") / "runs" / "cnn"
    words = ["train", "--dataset", "digits", "--epochs", "6", "--seed", "7", "--quiet"]
    assert main([*words, "--out", str(out)]) == 0
    return out
