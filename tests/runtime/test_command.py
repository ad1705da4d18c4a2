import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

from tinsmith_runtime import BackendError, UsageError
from tinsmith_runtime.cli import command
from tinsmith_runtime.cli.command import SUMMARIES, main

POINTS = {point.name: point for point in entry_points(group="tinsmith.commands")}


def _tinsmith(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "tinsmith_runtime", *map(str, words)]
    return subprocess.run(line, text=True, timeout=60, **options)


def _help(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.not_on_a_board(reason="the other rooms are not installed there")
def test_summaries_are_the_entry_points() -> None:
    assert set(SUMMARIES) == set(POINTS)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(_help([], capsys).split())
    for name, (summary, _) in SUMMARIES.items():
        assert f"{name} {summary}" in text


@pytest.mark.not_on_a_board(reason="the other rooms are not installed there")
@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_and_option_is_documented(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser(prog=name)
    POINTS[name].load()(parser)
    assert callable(parser.get_default("run"))
    text = " ".join(_help([name], capsys).split())
    assert SUMMARIES[name][0] in text
    for action in parser._actions:
        assert action.help, f"tinsmith {name}: {action.dest} has no help"
        if action.help == argparse.SUPPRESS:  # older names of --data say what to write instead
            assert {*action.option_strings} <= {"--dataset", "--calibration", "--data-dir"}
            continue
        assert all(option in text for option in action.option_strings)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"tinsmith {version('tinsmith-runtime')}\n"


@pytest.mark.parametrize(
    "words", [[], ["nosuch"], ["--nosuch"], ["inspect"], ["inspect", "x", "--nosuch"], ["run"]]
)
def test_misuse(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: tinsmith" in captured.err


def _install(monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]) -> None:
    """Makes `tinsmith bench` do what `run` does."""
    monkeypatch.setattr(command, "_configure", lambda _: lambda p: p.set_defaults(run=run))


def _raise(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("no\nsuch"), 2, "tinsmith: error: no such\n"),
        (BackendError("broken"), 1, "tinsmith: error: broken\n"),
        (OSError(28, "No space", "x"), 1, "tinsmith: error: [Errno 28] No space: 'x'\n"),
        (KeyboardInterrupt(), 130, "tinsmith: stopped\n"),
        (BrokenPipeError(), 1, ""),
        (
            ModuleNotFoundError("No module named 'rich'", name="rich"),
            2,
            "tinsmith: error: `tinsmith bench` needs rich, which is not installed: "
            "pip install 'tinsmith'\n",
        ),
    ],
)
def test_errors(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _install(monkeypatch, _raise(error))
    assert main(["bench"]) == status
    assert capsys.readouterr() == ("", message)


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _raise(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["bench"])


def test_room_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "entry_points", lambda **_: ())
    assert main(["export", "model.keras"]) == 2
    assert capsys.readouterr().err == (
        "tinsmith: error: `tinsmith export` is not installed here: "
        "pip install 'tinsmith[compile]'\n"
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["inspect", "{tiny}"], ["run", "{tiny}", "{images}"]]
)
def test_reader_that_leaves(words: list[str], tiny: Path, images: Path) -> None:
    """As `| head` does: the pipe is closed before the first word is written."""
    # Unbuffered, argparse itself would pass over the error of a `--help`.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    words = [word.format(tiny=tiny, images=images) for word in words]
    line = [sys.executable, "-W", "error", "-m", "tinsmith_runtime", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdout=pipe, stderr=pipe, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_full_disk(tiny: Path, one_line: Callable[[str], str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 a device, not a path of ours
        done = _tinsmith("inspect", tiny, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "No space left on device" in one_line(done.stderr)


def test_installed_script(tiny: Path) -> None:
    """The script that pip makes is the same command."""
    (point,) = entry_points(group="console_scripts", name="tinsmith")
    assert point.load() is command.entry_point
    done = _tinsmith("inspect", tiny, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 x 8 x 1 uint8 pixels" in done.stdout
