"""`tinsmith init`: three questions, and settings that every sub-command takes."""

import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tinsmith
from tinsmith_runtime.cli import main
from tinsmith_runtime.cli.command import _configure, _Parser, _settings

FILE = Path("tinsmith.toml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults() -> None:
    assert main(["init", "--yes"]) == 0
    tables = tomllib.loads(FILE.read_text())
    assert tables == {
        "train": {"model": "cnn", "data": "mnist", "out": "runs/cnn"},
        "check": {"model": "runs/cnn/model.keras"},
        "export": {
            "model": "runs/cnn/model.keras",
            "data": "mnist",
            "out": "runs/cnn/model.tin",
        },
        "bench": {"bundles": ["runs/cnn/model.tin"], "data": "mnist"},
    }


@pytest.mark.parametrize("command", ["train", "check", "export", "bench"])
def test_every_sub_command_takes_what_is_written(command: str) -> None:
    tinsmith.init(data="digits", model="mlp", host="pi@board")
    parser = _Parser(prog=f"tinsmith {command}")
    _configure(command)(parser)
    settings = _settings(parser, command, [])
    assert settings is not None
    arguments = parser.parse_args([])
    settings.fill(arguments)
    wanted = {"train": "mlp", "bench": None}.get(command, Path("runs/mlp/model.keras"))
    assert arguments.model == wanted
    assert getattr(arguments, "host", "pi@board") == "pi@board"


def test_a_model_that_is_trained_already(tmp_path: Path) -> None:
    Path("mine.keras").touch()
    tinsmith.init("other.toml", data="digits", model="mine.keras")
    tables = tomllib.loads(Path("other.toml").read_text())
    assert "train" not in tables
    assert tables["export"]["model"] == "mine.keras"
    assert tables["bench"]["bundles"] == [tables["export"]["out"]] == ["runs/mine.tin"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "nosuch"], "--data nosuch: expected mnist, digits"),
        (["--model", "nosuch"], "nosuch: expected cnn, "),
        (["--host", "-oProxyCommand=x"], ""),
        (["--host", "a b"], "--host: expected [USER@]HOST"),
        (["--out", "no/such/folder.toml"], "no/such/folder.toml"),
    ],
)
def test_an_answer_that_cannot_be(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["init", "--yes", *words])
    except SystemExit as stop:  # by argparse: a word that looks like an option
        status = int(str(stop.code))
    assert status in (1, 2)
    assert expected in capsys.readouterr().err
    assert not FILE.exists()


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    FILE.write_text("# mine\n")
    assert main(["init", "--yes"]) == 2
    assert "tinsmith.toml: it exists already" in capsys.readouterr().err
    with pytest.raises(tinsmith.UsageError, match="exists already"):
        tinsmith.init()
    assert FILE.read_text() == "# mine\n"
    Path("link.toml").symlink_to("nowhere")
    with pytest.raises(tinsmith.UsageError, match="exists already"):
        tinsmith.init("link.toml")


def test_nobody_to_ask() -> None:
    line = [sys.executable, "-m", "tinsmith_runtime", "init", "--data", "digits"]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "tinsmith: error: init: nobody is there to ask: give --model, or --yes\n"
    )
    assert not FILE.exists()


def test_a_person_answers() -> None:
    """On a terminal: one answer cannot be and is asked again, one is the default."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "tinsmith_runtime", "init"]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=theirs, stdout=pipe, stderr=pipe, text=True) as process:
        os.write(ours, b"nosuch\ndigits\n\npi@board\n")
        out, error = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, error
    assert "--data nosuch: expected mnist" in error
    assert error.count("[mnist]: ") == 2
    assert "next      tinsmith train, tinsmith export, tinsmith bench" in out
    tables = tomllib.loads(FILE.read_text())
    assert tables["train"] == {"model": "cnn", "data": "digits", "out": "runs/cnn"}
    assert tables["board"] == {"host": "pi@board"}


def test_a_person_leaves() -> None:
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "tinsmith_runtime", "init"]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=theirs, stdout=pipe, stderr=pipe, text=True) as process:
        os.write(ours, b"digits\n\x04")
        _, error = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 2
    assert "no more answers: nothing is written" in error
    assert not FILE.exists()
