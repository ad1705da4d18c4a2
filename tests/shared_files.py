"""Files that lie in or beside the data folder: MLPerf Tiny's models, photographs."""

import os
from pathlib import Path

import pytest

MODELS = Path("..", "models", "mlperf-tiny")
PHOTOGRAPHS = Path("cifar10", "cifar10-jpeg-subset.npz")


def shared(*parts: str | Path) -> Path:
    """A file in or beside the data folder, or the reason why there is none."""
    root = os.environ.get("TINSMITH_DATA")
    path = Path(root or "", *parts)
    if root and path.is_file():
        return path
    reason = f"no {path}: TINSMITH_DATA must name a folder with it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
