"""What the tests of the pages share: the demo, run once; the site, built once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from demonstration import demonstrate

from tinsmith_bench import Options

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On `digits`, which needs no network; a third of its 58 epochs already learn it."""
    folder = tmp_path_factory.mktemp("demo")
    demonstrate(folder, "--data", "digits", "--epochs", "20")
    return folder


@pytest.fixture
def few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench --quick` starts as few processes as it can: they are what takes the time."""
    few = Options(rounds=2, processes=2, cold_starts=1, batches=(1,))
    monkeypatch.setattr("tinsmith_bench.command.bench.QUICK", few)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    words = ["build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder
