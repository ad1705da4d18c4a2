"""`tinsmith demo`, whole, and what it must leave."""

import json
from collections import Counter
from pathlib import Path

from PIL import Image
from shell import tinsmith

from tinsmith_runtime import read_bundle

PICTURES = ("curves.png", "confusion.png", "digits.png", "digit.png")


def demonstrate(folder: Path, *words: str) -> None:
    """Types `tinsmith demo` in a folder: it writes `runs/demo`, what it says is in `demo.txt`."""
    (folder / "demo.txt").write_text(tinsmith("demo", *words, folder=folder))


def require_everything(folder: Path, dataset: str) -> None:
    """Asserts that every file is there, whole, and says which dataset it is of."""
    run = folder / "runs/demo"
    said = (folder / "demo.txt").read_text()
    assert f" on {dataset}:" in said.splitlines()[0]
    report = json.loads((run / "report.json").read_text())
    assert report["dataset"]["name"] == dataset
    assert f"dataset: {dataset}," in (run / "report.md").read_text()
    assert json.loads((run / "history.json").read_text())["dataset"]["name"] == dataset
    assert read_bundle(run / "digits.tin").manifest.training.dataset == dataset
    for name in PICTURES:
        with Image.open(run / name) as image:
            image.load()
    assert f" · {dataset}, " in (run / "report.html").read_text()
    engines = Counter((one["engine"], one["precision"]) for one in report["variants"])
    assert engines == Counter(
        {(engine, kind): 1 for engine in ("litert", "onnx") for kind in ("float", "int8")}
    )
    assert "On this machine" in said
    assert "tinsmith selftest runs/demo/digits.tin" in said.split("Next:")[1]
