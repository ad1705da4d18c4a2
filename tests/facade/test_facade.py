"""`import tinsmith`: every sub-command by its name, typed, and nothing imported before its use."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinsmith
from tinsmith_runtime.cli.command import SUMMARIES

DATA = Path(__file__).parents[1] / "data"


def test_every_sub_command_has_its_name() -> None:
    for name in SUMMARIES:
        assert callable(getattr(tinsmith, name)), name
        assert getattr(tinsmith, name).__doc__, name


def test_names_are_listed_and_found() -> None:
    assert tinsmith.__all__ == sorted(tinsmith.__all__)
    assert set(tinsmith.__all__) == set(tinsmith._PLACES)
    assert set(tinsmith.__all__) <= set(dir(tinsmith))
    for name, (module, its) in tinsmith._PLACES.items():
        assert getattr(tinsmith, name) is getattr(import_module(module), its)


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "trian"
    with pytest.raises(AttributeError, match="module 'tinsmith' has no attribute 'trian'"):
        getattr(tinsmith, name)


def test_type_checkers_read_what_python_finds() -> None:
    block, _ = [
        node
        for node in ast.parse(Path(tinsmith.__file__).read_text()).body
        if isinstance(node, ast.If)
    ]
    read = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert read == tinsmith._PLACES


@pytest.mark.slow
def test_mypy_sees_the_types(tmp_path: Path) -> None:
    """As one who installed it: by `py.typed`, not by this repository's settings."""
    (tmp_path / "mypy.ini").write_text("[mypy]\n")
    code = (
        "import tinsmith\n"
        "reveal_type(tinsmith.load)\n"
        "reveal_type(tinsmith.load('x.tin'))\n"
        "tinsmith.load(3)\n"
        "tinsmith.nothing\n"
    )
    (tmp_path / "program.py").write_text(code)
    line = [sys.executable, "-m", "mypy", "--follow-imports=silent", "program.py"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert "def (path: str | Path, backend: str" in done.stdout.replace("pathlib.", "").replace(
        "builtins.", ""
    ).replace("_local", ""), done.stdout
    assert 'Revealed type is "tinsmith_runtime.model.Model"' in done.stdout
    assert 'Argument 1 to "load" has incompatible type "int"' in done.stdout
    assert 'Module has no attribute "nothing"' in done.stdout


def test_the_import_takes_no_package() -> None:
    """Counted, not timed: this file and nothing of ours or of others besides."""
    code = (
        "import sys; before = set(sys.modules); import importlib, typing; base = set(sys.modules)\n"
        "import tinsmith; dir(tinsmith); print(*sorted(set(sys.modules) - base))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tinsmith"]


def test_run_answers_for_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    answers = list(tinsmith.run(DATA / "tiny.tin", tmp_path, backend="litert", top=2))
    assert [Path(answer.name).name for answer in answers] == ["a.png", "b.png"]
    manifest = tinsmith.inspect(DATA / "tiny.tin")
    for answer in answers:
        first, second = answer.predictions
        assert first.probability >= second.probability
        assert first.label in manifest.output.labels
        (values,) = answer.outputs.values()
        assert values.max() == pytest.approx(first.probability)


def test_run_gives_the_outputs_of_several_by_name(tmp_path: Path) -> None:
    manifest = tinsmith.inspect(DATA / "pair.tin")
    samples: dict[str, Any] = {
        entry.name: np.zeros((2, *entry.sample_shape), entry.dtype) for entry in manifest.inputs
    }
    np.savez(tmp_path / "two.npz", **samples)
    answers = list(tinsmith.run(DATA / "pair.tin", tmp_path / "two.npz", backend="litert"))
    assert len(answers) == 2
    for answer in answers:
        assert answer.predictions == ()
        assert {name: values.shape for name, values in answer.outputs.items()} == {
            output.name: output.sample_shape for output in manifest.outputs
        }


def test_compare_holds_conditions() -> None:
    report = DATA.parents[1] / "docs/mnist.json"
    conditions = ["accuracy < -0.2pp", "size_bytes > 1"]
    found = tinsmith.compare(report, tinsmith.read_report(report), conditions)
    assert not any(move.is_real for move in found.moves)
    assert not found.passed
    assert {failure.gate.text for failure in found.failed} == {"size_bytes > 1"}
    with pytest.raises(tinsmith.UsageError, match="expected as in"):
        tinsmith.compare(report, report, ["nonsense"])
