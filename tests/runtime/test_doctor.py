"""`tinsmith doctor`: what works, what is missing, what is broken, and what to type."""

import json
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinsmith_runtime.backends import BackendSpec
from tinsmith_runtime.cli import main
from tinsmith_runtime.doctor import BROKEN, MISSING, OK, Finding, doctor

HERE = "tinsmith_runtime.doctor"
EXPLAINED = re.compile(r"(ok|missing|broken) +\S.*")


def found(topic: str) -> Finding:
    (finding,) = [one for one in doctor() if one.topic == topic]
    return finding


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the only engine that is known a package of some code."""

    def make(code: str) -> None:
        (tmp_path / "odd_engine.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        spec = BackendSpec("odd", "Odd", ("x",), ("odd_engine",), "odd[extra]", "odd_engine:Odd")
        monkeypatch.setattr(f"{HERE}.known_backends", lambda: (spec,))

    return make


@pytest.fixture
def no_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries none: each takes a process."""
    monkeypatch.setattr(f"{HERE}._engines", lambda: ())


@pytest.mark.both_engines
def test_the_command_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *lines, last = captured.out.splitlines()
    assert last == "bundles run here"
    for line in lines:
        assert EXPLAINED.match(line) or line.startswith("          "), line
    for topic in ("tinsmith-runtime", "Python", "CPU", "engine litert", "engine onnx"):
        assert any(line.split("  ")[0] == "ok" and topic in line for line in lines), topic


@pytest.mark.not_on_a_board(reason="it starts a process an engine, which takes minutes there")
def test_json_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["healthy"] is True
    assert {one["status"] for one in tree["findings"]} <= {OK, MISSING}
    assert all(one["text"] and one["topic"] for one in tree["findings"])
    assert all(one["cure"] for one in tree["findings"] if one["status"] != OK)


@pytest.mark.not_on_a_board(reason="it starts a process an engine, which takes minutes there")
def test_an_engine_that_is_missing_is_no_failure() -> None:
    """The native one is hidden from these tests."""
    finding = found("engine native")
    assert finding.status == MISSING
    assert finding.cure == "pip install 'tinsmith-runtime[native]'"


@pytest.mark.not_on_a_board(reason="it starts a process an engine, which takes minutes there")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "crashes, signal 4"),
        ("raise OSError('wrong ELF class: ELFCLASS64')", "its wheel is for another CPU or system"),
        ("raise ValueError('odd\\n\\x1b[2J')", "odd_engine is installed but does not import"),
        ("import sys; sys.exit(3)", "it does not import"),
        ("import time; time.sleep(60)", "takes more than 1 s"),
    ],
)
def test_an_engine_that_does_not_import(
    engine: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    text: str,
) -> None:
    engine(code)
    if "sleep" in code:
        monkeypatch.setattr(f"{HERE}._LIMIT_S", 1)
    finding = found("engine odd")
    assert finding.status == BROKEN
    assert text in finding.text
    assert finding.cure == "pip install 'odd[extra]' --force-reinstall"
    if "ELF" in code:  # the command, once
        assert main(["doctor"]) == 1
        out = capsys.readouterr().out
        assert "none works here: no bundle runs" in out
        assert out.endswith("something is broken\n")
    assert "\x1b" not in finding.text


@pytest.mark.not_on_a_board(reason="it starts a process an engine, which takes minutes there")
def test_another_engine_that_works(engine: Callable[[str], None]) -> None:
    engine("Odd = object")
    assert found("engine odd").status == OK
    assert not [one for one in doctor() if one.topic == "engines"]


@pytest.mark.not_on_a_board(reason="the other rooms are not installed there")
@pytest.mark.usefixtures("no_engines")
def test_two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tinsmith-runtime": "2.0", "tinsmith": "1.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(f"{HERE}.version", version)
    finding = found("tinsmith")
    assert (finding.status, finding.cure) == (BROKEN, "pip install 'tinsmith==2.0'")
    del versions["tinsmith"]
    finding = found("tinsmith")
    assert (finding.status, finding.cure) == (MISSING, "pip install 'tinsmith[compile]'")


@pytest.mark.usefixtures("no_engines")
def test_an_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy", "numpy; extra == 'some'", 'nosuch-thing>=3; extra == "some"']
    monkeypatch.setattr(f"{HERE}.requires", lambda name: lines)
    finding = found("tinsmith-runtime[some]")
    assert finding.status == MISSING
    assert finding.text == "not installed: nosuch-thing"
    assert finding.cure == "pip install 'tinsmith-runtime[some]'"


@pytest.mark.usefixtures("no_engines")
def test_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert found("C compiler").cure == "apt install build-essential"
    assert found("ssh").status == MISSING


@pytest.mark.usefixtures("no_engines")
def test_memory_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(f"{HERE}._MEMINFO", tmp_path / "none")
    assert "memory" not in {one.topic for one in doctor()}
    (tmp_path / "some").write_text("MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
    monkeypatch.setattr(f"{HERE}._MEMINFO", tmp_path / "some")
    assert found("memory").text == "1 MiB available of 2"


@pytest.mark.usefixtures("no_engines")
def test_what_others_register_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Finding]:
        raise RuntimeError("no\nway")

    good = SimpleNamespace(name="good", load=lambda: lambda: [Finding("mine", OK, "here")])
    bad = SimpleNamespace(name="bad", value="a:b", load=lambda: fail)
    monkeypatch.setattr(f"{HERE}.entry_points", lambda group: [good, bad])
    assert found("mine").text == "here"
    finding = found("bad")
    assert finding.status == BROKEN
    assert "no\\nway" in finding.text


@pytest.mark.not_on_a_board(reason="the other rooms are not installed there")
@pytest.mark.usefixtures("no_engines")
def test_data_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINSMITH_DATA", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert found("data mnist").status == MISSING
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/train-images-idx3-ubyte").touch()
    assert found("data mnist") == Finding("data mnist", OK, str(tmp_path / "mnist"))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert found("data digits").cure == "pip install 'tinsmith[compile]'"
