"""A package of an extra that is missing: said before any work is done, with what installs it."""

import sys
from pathlib import Path

import numpy as np
import pytest

import tinsmith
from tinsmith_runtime.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = np.zeros((9, 8, 8, 1), np.uint8), np.arange(9) % 3
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    Path("model.keras").touch()


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("matplotlib", "train", "tinsmith[compile]"),
        ("tensorflow", "train", "tinsmith[compile]"),
        ("keras", "train", "tinsmith[compile]"),
        ("jinja2", "export model.keras --report page.html", "tinsmith[html]"),
        ("matplotlib", "export model.keras --report page.html", "tinsmith[html]"),
        ("tf2onnx", "export model.keras --verify-onnx", "tinsmith[compile]"),
    ],
)
def test_it_is_said_first(
    package: str,
    command: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(Path().iterdir())
    monkeypatch.setitem(sys.modules, package, None)
    assert main([*command.split(), "--data", "data.npz", "--quiet"]) == 2
    error = f"tinsmith: error: {package}: not installed: pip install '{extra}'\n"
    assert capsys.readouterr().err == error
    assert sorted(Path().iterdir()) == before


def test_in_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tinsmith.load_dataset("data.npz")
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(tinsmith.UsageError, match=r"pip install 'tinsmith\[compile\]'"):
        tinsmith.train("cnn", data, Path("run"))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with pytest.raises(tinsmith.UsageError, match=r"keras is not installed: pip install"):
        tinsmith.check(Path("model.keras"))
