"""The wheels; and what is said at the end even where all passed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from arm64.emulator import build_runtime
from arm64.plans import Vectors, save
from arm64.plans import vectors as make_vectors
from arm64.wheels import native_wheels

SAID = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for the boards' own runs comes last: all else takes place meanwhile."""
    items.sort(key=lambda item: getattr(item, "originalname", "") == "test_runtime_tests")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> dict[str, Path]:
    """The wheels of tinsmith-native, by machine."""
    found = native_wheels(tmp_path_factory.mktemp("wheels"))
    for wheel in found.values():
        say(f"{wheel.name}: {wheel.stat().st_size:,} bytes")
    return found


@pytest.fixture(scope="session")
def vectors() -> dict[str, Vectors]:
    """Plans, and the codes that every machine has to give."""
    return make_vectors()


@pytest.fixture(scope="session")
def plans(vectors: dict[str, Vectors], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a file, for `check_native.py`."""
    path = tmp_path_factory.mktemp("plans") / "plans.npz"
    save(path, vectors)
    return path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime's wheel, as it is built for everybody."""
    return build_runtime(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a line that is printed at the end."""
    return request.config.stash.setdefault(SAID, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash.get(SAID, []):
        terminalreporter.write_line(line)
