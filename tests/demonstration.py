"""`tinsmith demo`, whole, and what it must leave."""

import json
from pathlib import Path

from PIL import Image
from shell import tinsmith

from tinsmith_export.targets.names import TARGET_NAMES
from tinsmith_runtime import Bundle, installed_backends, read_bundle
from tinsmith_runtime.backends import backends_of
from tinsmith_runtime.bundle import Variant

PICTURES = ("curves.png", "confusion.png", "digits.png", "digit.png")


def demonstrate(folder: Path, *words: str) -> None:
    """Types `tinsmith demo` in a folder: it writes `runs/demo`, what it says is in `demo.txt`."""
    (folder / "demo.txt").write_text(tinsmith("demo", *words, folder=folder))


def runnable(bundle: Bundle) -> list[tuple[str, Variant]]:
    """The variants whose engine is installed, each with the engine's name."""
    found = [(backends_of(variant.format)[0].name, variant) for variant in bundle.manifest.variants]
    return [(engine, variant) for engine, variant in found if engine in installed_backends()]


def require_everything(folder: Path, dataset: str) -> None:
    """Asserts that every file is there, whole, and says which dataset it is of."""
    run = folder / "runs/demo"
    said = (folder / "demo.txt").read_text()
    assert f" on {dataset}:" in said.splitlines()[0]
    report = json.loads((run / "report.json").read_text())
    assert report["dataset"]["name"] == dataset
    assert f"dataset: {dataset}," in (run / "report.md").read_text()
    assert json.loads((run / "history.json").read_text())["dataset"]["name"] == dataset
    bundle = read_bundle(run / "digits.tin")
    assert bundle.manifest.training.dataset == dataset
    integer = [variant for variant in bundle.manifest.variants if variant.precision == "int8"]
    assert [variant.format for variant in integer] == list(TARGET_NAMES)
    for name in PICTURES:
        with Image.open(run / name) as image:
            image.load()
    assert f" · {dataset}, " in (run / "report.html").read_text()
    measured = sorted((one["engine"], one["precision"]) for one in report["variants"])
    assert measured == sorted((engine, one.precision) for engine, one in runnable(bundle))
    assert "On this machine" in said
    assert "tinsmith selftest runs/demo/digits.tin" in said.split("Next:")[1]
