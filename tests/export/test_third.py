"""A third engine is one `Target` and one `BackendSpec`: all the rest goes over the lists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import third
from compiling import random_inputs, settle

import tinsmith_export
from tinsmith_export import Exported, Options, Progress, Samples
from tinsmith_export.pipeline.run import compile_bundle
from tinsmith_export.report import html
from tinsmith_export.summary import summary
from tinsmith_export.targets.registry import TARGETS
from tinsmith_runtime import installed_backends, load
from tinsmith_runtime.backends.registry import GROUP
from tinsmith_runtime.cli import main
from tinsmith_train.models import build_model

COUNT = 24
EXPORT = Path(tinsmith_export.__file__).parent
# These write for one engine, go another route, or ask tf2onnx.
ROOMS = ("targets", "competitors", "verify/witness.py")
WITNESS = ("tf2onnx", "verify_onnx", "verify-onnx")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with a distribution whose entry point is the backend."""
    folder = tmp_path_factory.mktemp("third")
    info = folder / "third-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nnumpy = third:SPEC\n")
    return folder


@pytest.fixture(autouse=True)
def known(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(installed)
    # The self-test's process looks for it too, and for what it imports.
    folders = (installed, Path(third.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, folders)))


@pytest.fixture(scope="module")
def exported(installed: Path) -> tuple[Exported, Path]:
    """The demo's network as a bundle for one target more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        shape = (28, 28, 1)
        inputs = random_inputs(shape, 100), None, random_inputs(shape, COUNT, seed=2), None
        samples = Samples("random", "0" * 64, *inputs, ())
        out = installed / "digits.tin"
        options = Options(recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0, layer_errors=True)
        model = settle(build_model("cnn", shape, 10))
        targets = (*TARGETS, third.target())
        return compile_bundle(model, samples, out, options, Progress(), targets), out


def test_the_bundle_holds_the_third_target(exported: tuple[Exported, Path]) -> None:
    manifest = exported[0].manifest
    targets = (*TARGETS, third.target())
    names = [target.name for target in targets]
    floats = [target.name for target in targets if target.has_float]
    assert [v.format for v in manifest.variants] == names + floats
    quality = manifest.quality
    assert [quality.reference, *(p.target for p in quality.parity)] == names
    assert [stage.target for stage in quality.stages if stage.target] == names
    for parity in (quality.parity[-1].evaluation, quality.parity[-1].random):
        assert parity.equal == parity.compared
    assert exported[0].kernels["interpreted"] == {"dot": len(manifest.layers)}


def test_the_third_backend_runs_the_bundle(exported: tuple[Exported, Path]) -> None:
    names = installed_backends()
    assert names[-1] == "numpy"
    pixels = random_inputs((28, 28, 1), COUNT, seed=3)
    codes = []
    for name in names:
        with load(exported[1], backend=name) as model:
            codes.append(np.asarray(model.predict_raw(pixels)))
    for found in codes[1:]:
        np.testing.assert_array_equal(found, codes[0])
    with load(exported[1], backend="numpy", precision="float") as model:
        assert model.predict(pixels).shape == (COUNT, 10)


def test_the_command_and_the_reports_go_over_it(
    exported: tuple[Exported, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selftest", str(exported[1]), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["backend"] for result in results] == list(installed_backends())
    assert main(["inspect", str(exported[1])]) == 0
    assert "interpreted with tflite: 240 of 240 int8 outputs equal" in capsys.readouterr().out
    told = "\n".join(summary(exported[0]))
    assert "all of 240 TFLite and Interpreter outputs equal to the bit" in told
    assert "kernels  Interpreter: integer in every layer: 5 dot" in told
    assert "TFLite and Interpreter are equal to the bit" in html(exported[0])


def named(tree: ast.AST) -> Iterator[str]:
    """The names and the texts in code, but for docstrings."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.name for alias in node.names)
            yield getattr(node, "module", None) or ""


def test_no_other_code_names_a_target_or_an_engine() -> None:
    paths = {path.relative_to(EXPORT).as_posix(): path for path in EXPORT.rglob("*.py")}
    found = {
        (place, name)
        for place, path in paths.items()
        if not place.startswith(ROOMS)
        for name in named(ast.parse(path.read_text()))
        if re.search(r"tflite|litert|onnx|\bnative\b", name, re.IGNORECASE)
        and not any(word in name for word in WITNESS)
    }
    assert found == set()
