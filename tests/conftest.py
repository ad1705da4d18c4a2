"""What several rooms' tests share: the datasets."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tinsmith_data import Dataset, load_dataset

# A machine that others use too may be slow for a moment: that is no failure.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# A shell lets its background jobs ignore Ctrl-C, and so would the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The demos, then what trains: each takes minutes, for all the rest to run beside."""

    def place(item: pytest.Item) -> int:
        if "demo" in getattr(item, "fixturenames", ()):
            return 0
        return 1 if item.path.parent.name == "train" else 2

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Images that were read are kept here, not in the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINSMITH_CACHE", str(folder))
        yield folder


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
