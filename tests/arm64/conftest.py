"""The wheel; and what is said at the end even where all passed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from arm64.emulator import build_runtime

SAID = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for the boards' own runs comes last: all else takes place meanwhile."""
    items.sort(key=lambda item: getattr(item, "originalname", "") == "test_runtime_tests")


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
