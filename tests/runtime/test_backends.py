"""Both engines behind one protocol, engines that are not there, and engines that do not start."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array, some
from numpy.typing import NDArray

from tinsmith_runtime import BackendError, Bundle, UsageError, installed_backends
from tinsmith_runtime.backends import TensorInfo, create_backend
from tinsmith_runtime.backends.diagnosis import explain
from tinsmith_runtime.executor import to_int8

FORMATS = {"litert": "tflite", "onnx": "onnx"}
NEEDS = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}
# A child in which modules are missing runs the command; so they are in the processes it starts.
COMMAND = """
import os, sys
os.environ["HIDDEN"] = sys.argv.pop(1)
for name in ("tinsmith_native", *os.environ["HIDDEN"].split(",")):
    sys.modules[name] = None
from tinsmith_runtime.cli import entry_point
entry_point()
"""
HIDE = """
import os, sys
for name in filter(None, os.environ.get("HIDDEN", "").split(",")):
    sys.modules[name] = None
"""
# LiteRT under its older name; what hides its newer one is lifted for a moment.
TFLITE_RUNTIME = """
import sys
hidden = sys.modules.pop("ai_edge_litert", False)
from ai_edge_litert.interpreter import Interpreter
if hidden is None:
    for name in [name for name in sys.modules if name.startswith("ai_edge_litert")]:
        del sys.modules[name]
    sys.modules["ai_edge_litert"] = None
"""


@pytest.mark.both_engines
@pytest.mark.parametrize("precision", ["int8", "float"])
def test_both_report_the_same(bundle: Bundle, precision: str) -> None:
    one, other = (
        create_backend(name, bundle.files[f"model.{precision}.{form}"], 1)
        for name, form in FORMATS.items()
    )
    assert (_unnamed(one.inputs), _unnamed(one.outputs)) == (
        _unnamed(other.inputs),
        _unnamed(other.outputs),
    )
    entry, output = bundle.manifest.input, bundle.manifest.output
    if precision == "int8":
        int8 = np.dtype(np.int8)
        expected = TensorInfo("", (8, 8, 1), int8, entry.scale, entry.zero_point)
        assert _unnamed(one.inputs) == [expected]
        expected = TensorInfo("", (3,), int8, output.scale, output.zero_point)
        assert _unnamed(one.outputs) == [expected]
    else:
        expected = TensorInfo("", (8, 8, 1), np.dtype(np.float32), 0.0, 0)
        assert _unnamed(one.inputs) == [expected]


def _unnamed(tensors: tuple[TensorInfo, ...]) -> list[TensorInfo]:
    """A file's one input or output has whatever name its converter chose."""
    return [replace(tensor, name="") for tensor in tensors]


def test_run(bundle: Bundle, engine: str, pixels: NDArray[np.uint8]) -> None:
    backend = create_backend(engine, bundle.files[f"model.int8.{FORMATS[engine]}"], 2)
    codes = (pixels.astype(np.int16) - 128).astype(np.int8)
    expected = bundle.golden().outputs_int8
    np.testing.assert_array_equal(backend.run(codes), expected)
    found = backend.run(pixels)
    assert array(found).dtype == backend.code_dtype
    np.testing.assert_array_equal(to_int8(found), expected)
    kept = array(found).copy()
    backend.run(255 - pixels)
    np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize(("precision", "arithmetic"), [("int8", "integer"), ("float", "float")])
def test_profile(
    bundle: Bundle, engine: str, pixels: NDArray[np.uint8], precision: str, arithmetic: str
) -> None:
    backend = create_backend(engine, bundle.files[f"model.{precision}.{FORMATS[engine]}"], 1)
    batch = np.zeros((20, *backend.inputs[0].shape), backend.inputs[0].dtype)
    operators = backend.profile(batch)
    assert {one.arithmetic for one in operators} == {arithmetic}
    kinds = [one.kind for one in operators]
    convolution = {
        ("litert", "int8"): "CONV_2D",
        ("litert", "float"): "CONV_2D",
        ("onnx", "int8"): "QLinearConv",
    }.get((engine, precision), "Conv")
    assert any(convolution in kind for kind in kinds), kinds
    assert len({one.name for one in operators}) == len(operators)
    if engine == "litert":
        assert "DELEGATE" not in kinds
        assert {one.time_us for one in operators} == {None}
    else:
        assert min(some(one.time_us) for one in operators) >= 0
        assert sum(some(one.time_us) for one in operators) > 1


def test_batch_that_the_engine_refuses(bundle: Bundle, engine: str) -> None:
    backend = create_backend(engine, bundle.files[f"model.int8.{FORMATS[engine]}"], 1)
    with pytest.raises(BackendError, match="refuses the batch") as caught:
        backend.run(np.zeros((1, 8, 8, 1)))
    assert "\n" not in str(caught.value)
    for shape in ((1, 5, 5, 1), (1, 1, 1, 1), (2, 8, 8)):  # numpy would stretch the second
        for dtype in (np.int8, np.uint8):
            with pytest.raises(BackendError, match=r"batch: expected shape \(N, 8, 8, 1\), got"):
                backend.run(np.zeros(shape, dtype))


def test_unknown_engine() -> None:
    with pytest.raises(
        UsageError, match="backend: expected auto, native, litert, onnx; got 'tenso"
    ):
        create_backend("tensorrt", b"", 1)


def test_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_backends() == ("litert", "onnx")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert installed_backends() == ("onnx",)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    extras = " or ".join(f"'tinsmith-runtime[{name}]'" for name in ("native", "litert", "onnx"))
    with pytest.raises(BackendError, match=re.escape(f"pip install {extras}")):
        installed_backends()


@pytest.mark.filterwarnings("ignore::ImportWarning")  # Python 3.11 warns of such a finder
def test_installed_beside_a_finder_of_the_old_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_module(self, name: str, path: object = None) -> None:
            """Finds nothing; it has no `find_spec`."""

    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert installed_backends() == ("onnx",)


@pytest.mark.not_on_a_board(reason="many processes; boards with one engine are in the guide")
@pytest.mark.parametrize("words", [["run", "--backend"], ["run", "--backend=auto"], ["selftest"]])
def test_one_engine_missing(
    child: Callable[..., subprocess.CompletedProcess[str]],
    one_line: Callable[[str], str],
    tiny: Path,
    images: Path,
    engine: str,
    words: list[str],
) -> None:
    words = [word if word != "--backend" else f"--backend={engine}" for word in words]
    more = [images / "c.npy"] if words[0] == "run" else []
    done = child("-c", COMMAND, NEEDS[engine], words[0], tiny, *more, *words[1:])
    if f"--backend={engine}" in words:
        assert done.returncode == 1
        assert f"pip install 'tinsmith-runtime[{engine}]'" in one_line(done.stderr)
        assert done.stdout == ""
    else:
        assert (done.returncode, done.stderr) == (0, "")
        other = {"litert": "ONNX Runtime", "onnx": "LiteRT"}[engine]
        assert len(done.stdout.splitlines()) == 1
        assert words[0] == "run" or done.stdout.startswith(other)


@pytest.mark.parametrize("words", [["run", "{images}"], ["selftest"]])
def test_no_engine(
    child: Callable[..., subprocess.CompletedProcess[str]],
    one_line: Callable[[str], str],
    tiny: Path,
    images: Path,
    words: list[str],
) -> None:
    more = [images] if "{images}" in words else []
    done = child("-c", COMMAND, "ai_edge_litert,onnxruntime", words[0], tiny, *more)
    assert done.returncode == 1
    assert "no engine is installed: pip install 'tinsmith-runtime[native]'" in one_line(done.stderr)
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="starts many processes, which take seconds each there")
@pytest.mark.parametrize("error", ["ImportError", "OSError", "AttributeError", "SystemError"])
def test_engine_that_does_not_import(
    child: Callable[..., subprocess.CompletedProcess[str]],
    one_line: Callable[[str], str],
    tiny: Path,
    images: Path,
    tmp_path: Path,
    engine: str,
    error: str,
) -> None:
    """A wheel for another CPU or another numpy, say; the other engine is not taken instead."""
    package = tmp_path / "broken" / NEEDS[engine]
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'raise {error}("libnative.so:\\n  wrong CPU")\n')
    words = ("-m", "tinsmith_runtime", "run", tiny, images / "c.npy", "--backend", engine)
    done = child(*words, PYTHONPATH=str(package.parent))
    assert done.returncode == 1
    message = one_line(done.stderr)
    assert f"{NEEDS[engine]} is installed but does not import: {error}: libnative.so: wr" in message
    assert f"pip install 'tinsmith-runtime[{engine}]' --force-reinstall" in message
    done = child("-m", "tinsmith_runtime", "selftest", tiny, PYTHONPATH=str(package.parent))
    assert done.returncode == 1
    assert f"{NEEDS[engine]} is installed but does not import" in one_line(done.stderr)


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="starts many processes, which take seconds each there")
@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV"])
@pytest.mark.parametrize("words", [["selftest"], ["install", "home"]], ids=" ".join)
def test_engine_that_kills_the_process(
    child: Callable[..., subprocess.CompletedProcess[str]],
    one_line: Callable[[str], str],
    tiny: Path,
    tmp_path: Path,
    engine: str,
    name: str,
    words: list[str],
) -> None:
    """A wheel for a newer CPU: an instruction that this one does not have, and no exception."""
    package = tmp_path / "deadly" / NEEDS[engine]
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f"import os, signal\nos.kill(os.getpid(), signal.{name})\n"
    )
    more = [tmp_path / word for word in words[1:]]
    line = ("-m", "tinsmith_runtime", words[0], tiny, *more)
    done = child(*line, PYTHONPATH=str(package.parent))
    assert done.returncode == 1, done
    assert done.stdout == ""
    message = one_line(done.stderr)
    assert f"{NEEDS[engine]} kills the process that runs it ({name})" in message
    assert ("instructions that this CPU (" in message) == (name == "SIGILL")
    assert f"install an older {NEEDS[engine].replace('_', '-')}, or another engine: " in message
    (other,) = NEEDS.keys() - {engine}
    assert f"pip install 'tinsmith-runtime[{other}]'" in message
    assert not (tmp_path / "home").exists()


def test_trial_without_a_python_to_start(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path
) -> None:
    """An embedded Python has no `sys.executable`; the self-test goes on without a trial."""
    for executable in ("''", "'/nowhere/python'"):
        script = (
            f"import sys\nsys.executable = {executable}\nsys.argv[1:] = ['selftest', {str(tiny)!r}]"
        )
        done = child("-c", f"{script}\nfrom tinsmith_runtime.cli import main\nsys.exit(main())")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("32 of 32") == 2


@pytest.fixture
def tflite_runtime(tmp_path: Path) -> Path:
    """A folder that holds a package `tflite_runtime`."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '2.14.0'\n")
    (package / "interpreter.py").write_text(TFLITE_RUNTIME)
    return tmp_path


@pytest.mark.not_on_a_board(reason="many processes; the 32-bit board has the real package")
def test_litert_on_tflite_runtime(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    images: Path,
    tflite_runtime: Path,
) -> None:
    path = str(tflite_runtime)
    for hidden, engines in (
        ("ai_edge_litert,onnxruntime", ["tflite_runtime 2.14.0"]),
        ("ai_edge_litert", ["tflite_runtime 2.14.0", "ONNX Runtime"]),
        ("json.tool", ["LiteRT", "ONNX Runtime"]),
    ):
        done = child("-c", COMMAND, hidden, "selftest", tiny, PYTHONPATH=path)
        assert (done.returncode, done.stderr) == (0, "")
        for line, engine in zip(done.stdout.splitlines(), engines, strict=True):
            assert line.startswith(f"{engine} ")
            assert line.endswith("passed")
    words = ("run", tiny, images / "c.npy", "--backend=litert")
    done = child("-c", COMMAND, "ai_edge_litert", *words, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.not_on_a_board(reason="many processes; the 32-bit board has the real package")
def test_tflite_runtime_may_be_one_off(
    child: Callable[..., subprocess.CompletedProcess[str]],
    forge: Callable[..., Path],
    bundle: Bundle,
    wrong_answers: Path,
    tflite_runtime: Path,
) -> None:
    def selftest(path: Path) -> subprocess.CompletedProcess[str]:
        words = ("ai_edge_litert,onnxruntime", "selftest", path)
        return child("-c", COMMAND, *words, PYTHONPATH=str(tflite_runtime))

    done = selftest(wrong_answers)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 of 32 golden vectors equal to the bit, the rest at most 1 LSB apart" in done.stdout
    golden, buffer = bundle.golden(), io.BytesIO()
    arrays: dict[str, Any] = {"inputs": golden.inputs, "outputs_float": golden.outputs_float}
    np.savez(buffer, **arrays, outputs_int8=array(golden.outputs_int8) ^ 2)
    done = selftest(forge({"golden.npz": buffer.getvalue()}))
    assert done.returncode == 1
    assert "FAILED: golden vector 0, output 0: differs by " in done.stdout


def test_tflite_runtime_under_numpy_2(
    child: Callable[..., subprocess.CompletedProcess[str]],
    one_line: Callable[[str], str],
    tiny: Path,
    tflite_runtime: Path,
) -> None:
    """What numpy prints of it, a page, is not shown."""
    (tflite_runtime / "tflite_runtime" / "interpreter.py").write_text(
        "import sys\n"
        "print('A module that was compiled using NumPy 1.x ...', file=sys.stderr)\n"
        "raise ImportError('numpy.core.multiarray failed to import')\n"
    )
    path = str(tflite_runtime)
    done = child("-c", COMMAND, "ai_edge_litert", "selftest", tiny, PYTHONPATH=path)
    assert done.returncode == 1
    message = one_line(done.stderr)
    assert f"it was built for numpy 1, this is numpy {np.__version__}: " in message
    assert "pip install 'numpy<2'; or, with numpy 2, pip install 'tinsmith-runtime[lit" in message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("x.so: wrong ELF class: ELFCLASS32"), "its wheel is for another CPU"),
        (OSError("x.so: cannot open shared object file: No such file"), "another CPU or system"),
        (ImportError("libc.so.6: version `GLIBC_2.38' not found"), "needs a newer C library"),
        (AttributeError("_ARRAY_API not found"), "built for numpy 1"),
        (ImportError("something else"), "something else: try pip install"),
    ],
)
def test_explain(error: Exception, words: str) -> None:
    message = explain("onnxruntime", "tinsmith-runtime[onnx]", error)
    kind = type(error).__name__
    assert message.startswith(f"onnxruntime is installed but does not import: {kind}: {error}: ")
    assert words in message
    assert "pip install 'tinsmith-runtime[onnx]'" in message
