"""What the boards said, shown even where all passed."""

import pytest

SAID = pytest.StashKey[list[str]]()


@pytest.fixture
def say(request: pytest.FixtureRequest):
    """Notes a line that is printed at the end."""
    return request.config.stash.setdefault(SAID, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash.get(SAID, []):
        terminalreporter.write_line(line)
