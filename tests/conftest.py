"""What several rooms' tests share: the datasets, and one whole demo."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from shell import tinsmith

from tinsmith_train import Dataset, load_dataset

# A machine that others use too may be slow for a moment: that is no failure.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


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
def demo(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `tinsmith demo` was typed: all of it is in `runs/demo`, on MNIST."""
    folder = tmp_path_factory.mktemp("mnist")
    (folder / "demo.txt").write_text(tinsmith("demo", folder=folder))
    assert len(mnist.x_test) == 10_000
    return folder


@pytest.fixture(scope="session")
def digits_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on `digits`, which needs no network."""
    folder = tmp_path_factory.mktemp("digits")
    said = tinsmith("demo", "--dataset", "digits", folder=folder)
    (folder / "demo.txt").write_text(said)
    return folder
