"""The wheel; and what is said at the end even where all passed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from arm64.emulator import build_runtime

SAID = pytest.StashKey[list[str]]()


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
