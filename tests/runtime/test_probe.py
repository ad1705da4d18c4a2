"""Models that kill, never end, ask for all memory or say what they should not, in the self-test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pytest

from tinsmith_runtime import BackendError, Bundle, BundleError, load, read_bundle, selftest
from tinsmith_runtime.backends import create_backend, find_backend
from tinsmith_runtime.cli import main
from tinsmith_runtime.probe import messages, process

onnx = pytest.importorskip("onnx", reason="makes models with the package onnx")
from onnx import TensorProto, helper  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="Python cannot start another there"),
]

SHAPE, CLASSES = [1, 8, 8, 1], 3


def _model(nodes: list[Any], initializers: Sequence[Any] = (), **metadata: object) -> bytes:
    """A model of the tiny bundle's shapes, of which these nodes make `codes` of `pixels`."""
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 8, 8, 1])],
        [helper.make_tensor_value_info("codes", TensorProto.UINT8, ["N", CLASSES])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {name: str(value) for name, value in metadata.items()})
    data: bytes = model.SerializeToString()
    return data


def _number(name: str, value: Any, kind: int = TensorProto.INT64) -> Any:
    return helper.make_tensor(name, kind, np.shape(value), np.ravel(value))


# Three codes of every sample: what each of the models below ends with.
ENDING = [
    helper.make_node("Slice", ["flat", "first", "last", "axis"], ["codes"]),
]
PLACES = [_number("first", [0]), _number("last", [CLASSES]), _number("axis", [1])]
FLAT = helper.make_node("Flatten", ["pixels"], ["flat"])


@pytest.fixture
def scales(bundle: Bundle) -> dict[str, object]:
    """What an ONNX file says of its scales, as the tiny bundle's manifest does."""
    entry, output = bundle.manifest.input, bundle.manifest.output
    return {
        "input_scale": entry.scale,
        "input_zero_point": entry.zero_point,
        "output_scale": output.scale,
        "output_zero_point": output.zero_point,
    }


def _loop(scales: dict[str, object]) -> bytes:
    """2^62 turns of a loop that adds one."""
    inside = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("Add", ["sum", "one"], ["more"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.INT64, []),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["turns", "yes", "start"], ["end"], body=inside),
        helper.make_node("Sub", ["end", "end"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["byte"], to=TensorProto.INT32),
        FLAT,
        helper.make_node("Cast", ["flat"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Add", ["wide", "byte"], ["sums"]),
        helper.make_node("Slice", ["sums", "first", "last", "axis"], ["three"]),
        helper.make_node("Cast", ["three"], ["codes"], to=TensorProto.UINT8),
    ]
    numbers = [_number("turns", 1 << 62), _number("start", 0), _number("one", 1)]
    numbers += [_number("yes", True, TensorProto.BOOL), *PLACES]
    return _model(nodes, numbers, **scales)


def _memory(scales: dict[str, object]) -> bytes:
    """100 GB of zeros, of which none is needed; their size comes from the input's."""
    nodes = [
        FLAT,
        helper.make_node("Shape", ["flat"], ["shape"]),
        helper.make_node("Mul", ["shape", "many"], ["larger"]),
        helper.make_node("ConstantOfShape", ["larger"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["none"], keepdims=0),
        helper.make_node("Cast", ["none"], ["byte"], to=TensorProto.INT32),
        helper.make_node("Cast", ["flat"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Add", ["wide", "byte"], ["sums"]),
        helper.make_node("Slice", ["sums", "first", "last", "axis"], ["three"]),
        helper.make_node("Cast", ["three"], ["codes"], to=TensorProto.UINT8),
    ]
    return _model(nodes, [_number("many", [1, 100 * 10**9 // 8192]), *PLACES], **scales)


@pytest.fixture
def with_onnx(
    bundle: Bundle, forge: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], Path]:
    """A bundle whose ONNX file is another, and which has no other engine here."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    return lambda model: forge({"model.int8.onnx": model})


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_loop_without_end(
    with_onnx: Callable[[bytes], Path], scales: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinsmith_runtime.probe.process._SECONDS", 3)
    monkeypatch.setattr("tinsmith_runtime.probe.process._SECONDS_A_VECTOR", 0)
    monkeypatch.setattr("tinsmith_runtime.probe.process._SECONDS_A_VECTOR_AND_MIB", 0)
    before = _children()
    message = r"^model\.int8\.onnx: onnxruntime took more than 3 s: the engine or the model may be"
    with pytest.raises(BackendError, match=message):
        selftest(with_onnx(_loop(scales)))
    assert _children() == before


def test_the_time_of_the_cpu_is_limited_too(
    with_onnx: Callable[[bytes], Path], bundle: Bundle, scales: dict[str, object]
) -> None:
    """So a process whose parent was killed does not go on for ever."""
    files = {**bundle.files, "model.int8.onnx": _loop(scales)}
    other = read_bundle(with_onnx(files["model.int8.onnx"]))
    (variant,) = (v for v in other.manifest.variants if v.file == "model.int8.onnx")
    request = messages.make_request(spec := find_backend("onnx"), other, variant)
    limits = messages.Limits(2, 1 << 31)
    pid = os.fork()
    if pid == 0:
        process.confine(limits)
        messages.answer_request(request)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == -signal.SIGXCPU
    ended = messages.Ending(b"", status, False)
    with pytest.raises(BackendError, match="took more than 2 s"):
        messages.read_answer(spec, other.manifest, variant, ended, limits)


def test_all_memory_there_is(with_onnx: Callable[[bytes], Path], scales: dict[str, object]) -> None:
    with pytest.raises((BackendError, BundleError), match=r"onnx|ONNX") as caught:
        selftest(with_onnx(_memory(scales)))
    assert "\n" not in str(caught.value)


def test_limits_grow_with_the_model(bundle: Bundle) -> None:
    (variant,) = (v for v in bundle.manifest.variants if v.file == "model.int8.onnx")
    small = process.limits_of(bundle, variant)
    files = {**bundle.files, variant.file: bytes(10 << 20)}
    large = process.limits_of(type(bundle)(bundle.manifest, files), variant)
    assert 60 < small.seconds < 150
    assert large.seconds > small.seconds + 600
    assert 1 << 30 < small.memory_bytes < 1 << 31
    assert large.memory_bytes > small.memory_bytes + 32 * (9 << 20)


LOCATIONS = ["weights.bin", "./weights.bin", "sub/../weights.bin", "../{here}/weights.bin"]
LOCATIONS += ["{folder}/weights.bin", "/proc/self/cwd/weights.bin"]


@pytest.mark.parametrize("where", ["graph", "constant", "branch"])
@pytest.mark.parametrize("location", LOCATIONS)
def test_weights_in_another_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    scales: dict[str, object],
    location: str,
    where: str,
) -> None:
    """They are under no hash: no session takes them, wherever it is opened."""
    from tinsmith_runtime.backends import ort

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "weights.bin").write_bytes(np.arange(64, dtype=np.uint8).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[1, 64])
    tensor.data_location = TensorProto.EXTERNAL
    location = location.format(folder=tmp_path, here=tmp_path.name)
    for key, value in {"location": location, "length": "64"}.items():
        tensor.external_data.add(key=key, value=value)
    use = helper.make_node("BitShift", ["flat", "w"], ["codes"], direction="LEFT")
    nodes, tensors = [FLAT, use], [tensor]
    if where == "constant":
        nodes, tensors = [helper.make_node("Constant", [], ["w"], value=tensor), *nodes], []
    if where == "branch":
        out = [helper.make_tensor_value_info("out", TensorProto.UINT8, None)]
        use = helper.make_node("BitShift", ["flat", "w"], ["out"], direction="LEFT")
        branch = helper.make_graph([use], "branch", [], out, [tensor])
        choice = helper.make_node("If", ["yes"], ["codes"], then_branch=branch, else_branch=branch)
        nodes, tensors = [FLAT, choice], [_number("yes", True, TensorProto.BOOL)]
    model = _model(nodes, tensors, **scales)
    for open_it in (
        lambda: create_backend("onnx", model, 1),
        lambda: ort.open_session(model, ort.session_options(model, 1)),
    ):
        with pytest.raises(BundleError, match="ONNX Runtime refuses the model: "):
            open_it()
    assert capfd.readouterr().out == ""


def test_a_profile_reads_no_other_file(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens a session of its own, with what every session is opened with."""
    from tinsmith_runtime.backends import ort

    seen = []
    real = ort.session_options

    def options(model: bytes, threads: int) -> Any:
        made = real(model, threads)
        seen.append({key: made.get_session_config_entry(key) for key in ort._CONFIG})
        return made

    ort.saturates()  # it opens a session of its own, the first time
    monkeypatch.setattr(ort, "session_options", options)
    backend = create_backend("onnx", bundle.files["model.int8.onnx"], 1)
    backend.profile(np.zeros((1, 8, 8, 1), np.int8))
    assert seen == [ort._CONFIG, ort._CONFIG]


@pytest.mark.parametrize("words", [["selftest"], ["run"], ["install"]], ids=lambda words: words[0])
def test_json_stays_json(
    child: Callable[..., subprocess.CompletedProcess[str]],
    one_line: Callable[[str], str],
    with_onnx: Callable[[bytes], Path],
    images: Path,
    tmp_path: Path,
    words: list[str],
) -> None:
    """ONNX Runtime would say on standard output that it tries once more."""
    bad = _model([helper.make_node("Nothing", ["pixels"], ["codes"])])
    path = with_onnx(bad)
    more: dict[str, list[object]] = {
        "run": [images / "c.npy", "--backend=onnx"],
        "install": [tmp_path / "home"],
    }
    done = child("-m", "tinsmith_runtime", *words, path, *more.get(words[0], []), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ONNX Runtime refuses the model: " in one_line(done.stderr)


@pytest.mark.parametrize("what", ["metadata", "input name", "output name"])
def test_text_that_is_none(
    with_onnx: Callable[[bytes], Path],
    scales: dict[str, object],
    what: str,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    model = _model([FLAT, *ENDING], PLACES, note="remark", **scales)
    old = {"metadata": b"remark", "input name": b"pixels", "output name": b"codes"}[what]
    assert old in model
    path = with_onnx(model.replace(old, b"\xff" + old[1:]))
    with pytest.raises(BundleError) as caught:
        load(path, "onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises((BundleError, BackendError)):
        selftest(path)
    assert main(["selftest", str(path)]) == 1
    assert "model.int8.onnx: " in one_line(capsys.readouterr().err)


def test_tensor_names_of_tflite_that_are_no_text(
    bundle: Bundle,
    forge: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    model = bundle.files["model.int8.tflite"]
    backend = create_backend("litert", model, 1)
    name = backend.inputs[0].name.encode()
    path = forge({"model.int8.tflite": model.replace(name, b"\xff" + name[1:])})
    with pytest.raises(BundleError, match=r"^model\.int8\.tflite: "):
        load(path, "litert")
    assert main(["selftest", str(path)]) == 1
    one_line(capsys.readouterr().err)


ANSWER = """
import os, sys
sys.stdin.buffer.read()
os.write(1, b"ready\\n" + {answer})
os.kill(os.getpid(), {signal}) if {signal} else os._exit({status})
"""
ANSWERS = {
    "nothing": ("b''", 0, 0, r"gave no answer \(exit status 0\)"),
    "not JSON": ("b'{\\n'", 0, 0, r"gave no answer \(exit status 0\)"),
    "a list": ("b'[]\\n'", 0, 0, r"gave no answer \(exit status 0\)"),
    "too deep": ("b'[' * 60000", 0, 0, r"gave no answer \(exit status 0\)"),
    "too little": ('b\'{"version": "x", "max_lsb": 0, "elapsed_ms": 1}\\n\' + bytes(95)', 0, 0,
                   r"gave no answer \(exit status 0\)"),
    "too much": ("bytes(10_000_000)", 0, 0, r"gave no answer|kills the process that runs it \(SIG"),
    "a status": ("b''", 0, 3, r"gave no answer \(exit status 3\)"),
    "SIGSEGV": ("b''", 11, 0, r"kills the process that runs it \(SIGSEGV\): the engine or the mod"),
    "SIGKILL": ("b''", 9, 0, r"\(SIGKILL\), as a system does that is short of memory: the engine "),
    "SIGILL": ("b''", 4, 0, r"\(SIGILL\), for its wheel has instructions that this CPU \("),
    "SIGXCPU": ("b''", 24, 0, r"took more than \d+ s: the engine or the model may be at fault"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ANSWERS))
def test_what_the_process_may_answer(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    answer, number, status, message = ANSWERS[name]
    python = tmp_path / "python"
    script = ANSWER.format(answer=answer, signal=number, status=status)
    (tmp_path / "answer.py").write_text(script)
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'answer.py'}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    before = _children()
    with pytest.raises(BackendError, match=message) as caught:
        selftest(tiny)
    assert "\n" not in str(caught.value)
    assert _children() == before


@pytest.mark.parametrize("program", ["exit 0", "exit 1", "echo usage: app; exit 2", "cat"])
def test_a_program_that_is_no_python(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """An application that carries Python with it: the self-test goes on in this process."""
    other = tmp_path / "application"
    other.write_text(f"#!/bin/sh\n{program}\n")
    other.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(other))
    assert [result.equal_vectors for result in selftest(tiny)] == [32, 32]


def test_the_model_is_opened_in_the_other_process_alone(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path
) -> None:
    script = f"""
import sys
from tinsmith_runtime import selftest
assert [result.mismatch for result in selftest({str(tiny)!r})] == ["", ""]
print(sorted({{"onnxruntime", "ai_edge_litert"}} & sys.modules.keys()))
"""
    assert child("-c", script).stdout == "[]\n"


def test_prints_of_native_code_and_the_working_directory(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is printed does not reach the answer; no module is taken from where one stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong one')")
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    (noisy / "sitecustomize.py").write_text(
        "import sys\n"
        "if sys.argv[0] == '-m':\n"
        "    import importlib.abc, os\n"
        "    class Noise(importlib.abc.MetaPathFinder):\n"
        "        def find_spec(self, name, *more):\n"
        "            if name == 'onnxruntime':\n"
        "                os.write(1, b'a native library' * 9)\n"
        "    sys.meta_path.insert(0, Noise())\n"
    )
    done = child("-P", "-m", "tinsmith_runtime", "selftest", tiny, "--json", PYTHONPATH=str(noisy))
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout[done.stdout.index("[") :])
    assert [result["equal_vectors"] for result in found] == [32, 32]


def test_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    """No core, no file, and no bytecode beside what crashed."""
    monkeypatch.chdir(tmp_path)
    files = mutations.with_right_hashes(
        dict(bundle.files), {"model.int8.tflite": b"\x1c\0\0\0TFL3" + b"\xff" * 400}
    )
    path = tmp_path / "bundle.tin"
    path.write_bytes(mutations.zipped(list(files.items())))
    with pytest.raises((BackendError, BundleError)):
        selftest(path)
    assert list(tmp_path.iterdir()) == [path]
