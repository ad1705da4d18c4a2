"""What the README tells people to type is typed here."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tinsmith_runtime import Bundle
from tinsmith_runtime.bundle import FORMAT_VERSION
from tinsmith_runtime.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "runtime" / "README.md").read_text(encoding="utf-8")
BUNDLE_PAGE = (ROOT / "docs" / "reference" / "bundle.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, images: Path) -> None:
    """A folder with what the README speaks of; the tiny bundle stands for `digits.tin`."""
    shutil.copy(tiny, tmp_path / "digits.tin")
    shutil.copy(images / "a.png", tmp_path / "photo.png")
    images.rename(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)


COMMANDS = [
    words
    for words in (shlex.split(line, comments=True) for line in _block("sh").splitlines())
    if words[0] == "tinsmith"
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words[1:]) == 0
    captured = capsys.readouterr()
    assert captured.out
    assert captured.err == ""


def test_python(
    capsys: pytest.CaptureFixture[str], pixels: NDArray[np.uint8], bundle: Bundle
) -> None:
    names = {"images": pixels}
    exec(_block("python"), names)
    best = bundle.manifest.output.labels[bundle.golden().outputs_int8[0].argmax()]
    assert capsys.readouterr().out.startswith(f"{best} 0.")
    assert names["batch"].shape == (len(pixels), 3)


def test_files_of_a_bundle(bundle: Bundle) -> None:
    assert set(re.findall(r"`(\S+\.(?:json|npz|tflite|onnx))`", BUNDLE_PAGE)) == set(bundle.files)
    assert bundle.manifest.format_version == FORMAT_VERSION
