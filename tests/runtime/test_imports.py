"""What comes along when the runtime is imported and used: in fresh interpreters."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FORBIDDEN = {
    "tensorflow",
    "keras",
    "tf_keras",
    "tf2onnx",
    "onnx",
    "matplotlib",
    "rich",
    "sklearn",
    "scipy",
    "tinsmith_data",
    "tinsmith_train",
    "tinsmith_export",
    "tinsmith_bench",
}
REPORT = """
import json, sys
tops = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted(tops - sys.stdlib_module_names)))
"""


def _third_party(output: str) -> set[str]:
    return set(json.loads(output.splitlines()[-1])) - {"sitecustomize"}  # Debian's Python has one


def test_import_takes_numpy_alone(child: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = child("-c", f"import tinsmith_runtime\n{REPORT}")
    assert done.returncode == 0, done.stderr
    found = _third_party(done.stdout)
    assert {name for name in found if not name.startswith("_")} <= {"numpy", "tinsmith_runtime"}


# Each takes more time or memory to import than a small bundle takes to load.
COSTLY = {
    "hashlib",
    "importlib.metadata",
    "numpy.typing",
    "pathlib",
    "tinsmith_runtime.bundle.box_checks",
    "tinsmith_runtime.detect",
    "tinsmith_runtime.inputs.camera",
    "tinsmith_runtime.inputs.image",
    "tinsmith_runtime.bundle.signature",
    "zipfile",
}


def test_load_takes_little_besides_the_engine(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, engine: str
) -> None:
    engine_module = {"litert": "ai_edge_litert.interpreter", "onnx": "onnxruntime"}[engine]
    script = f"""
import json, sys
import numpy, {engine_module}
before = set(sys.modules)
from tinsmith_runtime import load
load({str(tiny)!r}, {engine!r}).predict(numpy.zeros((1, 8, 8, 1), numpy.uint8))
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = child("-c", script)
    assert done.returncode == 0, done.stderr
    assert not COSTLY & set(json.loads(done.stdout))


@pytest.mark.parametrize("image", ["array", "a.png"])
def test_classify(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    images: Path,
    engine: str,
    image: str,
) -> None:
    source = "numpy.zeros((8, 8), numpy.uint8)" if image == "array" else repr(str(images / image))
    script = f"""
import numpy
from tinsmith_runtime import load
with load({str(tiny)!r}, {engine!r}) as model:
    model.classify({source})
{REPORT}"""
    done = child("-c", script)
    assert done.returncode == 0, done.stderr
    found = _third_party(done.stdout)
    assert not found & FORBIDDEN
    other = {"litert": "onnxruntime", "onnx": "ai_edge_litert"}[engine]
    assert other not in found
    assert ("PIL" in found) == (image != "array")


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "{tiny}", "{png}"], ["inspect", "{tiny}"], ["selftest", "{tiny}"]]
)
def test_command(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    images: Path,
    words: list[str],
) -> None:
    words = [word.format(tiny=tiny, png=images / "a.png") for word in words]
    script = f"""
from tinsmith_runtime.cli import main
try:
    assert main({words!r}) == 0
except SystemExit as done:
    assert done.code == 0
{REPORT}"""
    done = child("-c", script)
    assert done.returncode == 0, done.stderr
    assert not _third_party(done.stdout) & FORBIDDEN
