"""Backends of other distributions: found by their entry points, and only when they are needed."""

import hashlib
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinsmith_runtime import BackendError, Bundle, UsageError, installed_backends, load, selftest
from tinsmith_runtime.backends import backends_of, find_backend, known_backends
from tinsmith_runtime.backends.registry import BUILT_IN, GROUP

RUNTIME = Path(__file__).parents[2] / "runtime"
# A backend that gives zeros, for a format of its own; any module of the standard library will do
# as its engine.
MODULE = """
import numpy as np
from tinsmith_runtime.backends import Backend, BackendSpec, TensorInfo

class Zeros(Backend):
    code_dtype, max_lsb, version = np.dtype(np.int8), 255, "Zeros 1"

    def __init__(self, model, threads):
        int8 = np.dtype(np.int8)
        self.inputs = (TensorInfo("x", (8, 8, 1), int8, *{entry}),)
        self.outputs = (TensorInfo("y", (3,), int8, *{output}),)

    def run(self, batch):
        return np.zeros((len(batch), 3), np.int8)

SPEC = BackendSpec("zeros", "Zeros", ("zeros",), ("colorsys",), "zeros", "zeros_backend:Zeros")
"""


@pytest.fixture
def foreign(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a backend `zeros` is installed; gives its `entry_points.txt`."""
    pair = bundle.manifest.input, bundle.manifest.output
    entry, output = ((one.scale, one.zero_point) for one in pair)
    (tmp_path / "zeros_backend.py").write_text(MODULE.format(entry=entry, output=output))
    info = tmp_path / "zeros-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zeros\nVersion: 1\n")
    points = info / "entry_points.txt"
    points.write_text(f"[{GROUP}]\nzeros = zeros_backend:SPEC\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the self-test's process
    return points


@pytest.fixture
def third_variant(forge: Callable[..., Path]) -> Callable[[bool], Path]:
    """Writes the tiny bundle with a variant for `zeros`, beside the others or alone."""

    def write(alone: bool) -> Path:
        def edit(tree: Any) -> None:
            data = b"zeros"
            variant = {**tree["variants"][0], "id": "zeros-int8", "file": "model.zeros"}
            variant |= {"format": "zeros", "precision": "int8", "size_bytes": len(data)}
            variant["sha256"] = hashlib.sha256(data).hexdigest()
            tree["variants"] = [*([] if alone else tree["variants"]), variant]

        return forge({"model.zeros": b"zeros"}, edit)

    return write


@pytest.mark.not_on_a_board(reason="reads pyproject.toml: there, the wheel is installed")
def test_the_built_in_ones_have_an_extra() -> None:
    project = tomllib.loads((RUNTIME / "pyproject.toml").read_text())["project"]
    assert [spec.name for spec in BUILT_IN] == ["native", "litert", "onnx"]
    for spec in BUILT_IN:
        assert find_backend(spec.name) is spec
        distribution, _, extra = spec.extra.removesuffix("]").partition("[")
        assert distribution == project["name"]
        assert project["optional-dependencies"][extra]


@pytest.mark.both_engines
def test_foreign_backend(
    foreign: Path, third_variant: Callable[[bool], Path], pixels: NDArray[np.uint8]
) -> None:
    assert known_backends() == (*BUILT_IN, find_backend("zeros"))
    assert installed_backends() == ("litert", "onnx", "zeros")
    assert backends_of("zeros") == (find_backend("zeros"),)
    path = third_variant(False)
    assert load(path).backend == "litert"
    with load(path, "zeros") as model:
        assert (model.backend, model.engine_version) == ("zeros", "Zeros 1")
        assert not model.predict_raw(pixels).any()
        assert model.clone().predict_raw(pixels).shape == (len(pixels), 3)
    assert [(r.backend, r.mismatch) for r in selftest(path)] == [
        ("litert", ""),
        ("onnx", ""),
        ("zeros", ""),
    ]


def test_auto_finds_a_foreign_backend(
    foreign: Path,
    third_variant: Callable[[bool], Path],
    pixels: NDArray[np.uint8],
    child: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    path = third_variant(True)
    with load(path) as model:
        assert model.backend == "zeros"
        np.testing.assert_array_equal(model.predict_raw(pixels[:2]), np.zeros((2, 3), np.int8))
    with pytest.raises(UsageError, match="holds int8 for zeros; asked for int8 for onnx"):
        load(path, "onnx")
    done = child("-m", "tinsmith_runtime", "selftest", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Zeros 1 on ")


def test_a_format_that_no_backend_runs(third_variant: Callable[[bool], Path]) -> None:
    """Such a variant is for another machine, and in nobody's way here."""
    assert load(third_variant(False)).backend in installed_backends()
    with pytest.raises(UsageError, match="holds int8 for zeros; asked for int8 for "):
        load(third_variant(True))
    with pytest.raises(BackendError, match="holds int8 for no engine"):
        selftest(third_variant(True))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere:SPEC", "does not load: No module named 'nowhere'"),
        ("zeros_backend:NONE", "does not load: module 'zeros_backend' has no attribute 'NONE'"),
        ("zeros_backend:Zeros", "expected a BackendSpec of that name, got <class"),
        (
            "tinsmith_runtime.backends.registry:ONNX",
            "expected a BackendSpec of that name, got Back",
        ),
    ],
)
def test_entry_point_that_gives_no_backend(
    foreign: Path, tiny: Path, value: str, message: str
) -> None:
    foreign.write_text(f"[{GROUP}]\nzeros = {value}\n")
    with pytest.raises(BackendError) as caught:
        known_backends()
    assert f"the backend zeros ({value}, an entry point in {GROUP}): "[:-2] in str(caught.value)
    assert message in str(caught.value)
    load(tiny)  # needs no other than ours


def test_two_distributions_with_one_name(foreign: Path) -> None:
    """The first is taken: with both, a benchmark would have two variants of one id."""
    info = foreign.parent.with_name("more-1.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1\n")
    (info / "entry_points.txt").write_text(foreign.read_text())
    assert len(metadata.entry_points(group=GROUP, name="zeros")) == 2
    assert known_backends() == (*BUILT_IN, find_backend("zeros"))


def test_an_engine_that_is_a_module_of_a_package(foreign: Path) -> None:
    spec = find_backend("zeros")
    assert replace(spec, packages=("nowhere.engine",)).package is None
    assert replace(spec, packages=("json.decoder",)).package == "json.decoder"


def test_a_foreign_backend_cannot_take_the_name_of_ours(foreign: Path) -> None:
    foreign.write_text(f"[{GROUP}]\nlitert = zeros_backend:SPEC\n")
    assert known_backends() == BUILT_IN
