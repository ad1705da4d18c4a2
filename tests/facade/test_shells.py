"""`tinsmith completion`: the scripts, in the shells themselves."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tinsmith
from tinsmith.parsers import all_parsers, shown
from tinsmith.shells import SHELLS
from tinsmith_runtime.cli import main
from tinsmith_runtime.cli.command import SUMMARIES

Complete = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shells")
    paths = {shell: folder / f"script.{shell}" for shell in SHELLS}
    for shell, path in paths.items():
        path.write_text(tinsmith.completion(shell))
    return paths


def _bash(script: Path) -> Complete:
    def complete(line: str) -> list[str]:
        words = " ".join(map(shlex.quote, line.split(" ")))
        code = (
            f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
            "_tinsmith; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return _lines("bash", "--norc", "-c", code)

    return complete


def _fish(script: Path) -> Complete:
    def complete(line: str) -> list[str]:
        code = f"source {script}; complete -C {shlex.quote(line)}"
        return _lines("fish", "--no-config", "-c", code)

    return complete


def _lines(*line: str) -> list[str]:
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return [found.partition("\t")[0] for found in done.stdout.splitlines() if found]


@pytest.fixture(params=["bash", "fish"])
def complete(request: pytest.FixtureRequest, scripts: dict[str, Path]) -> Complete:
    shell: str = request.param
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    return {"bash": _bash, "fish": _fish}[shell](scripts[shell])


def test_sub_commands(complete: Complete) -> None:
    assert set(complete("tinsmith ")) - {"--help", "--version"} >= {*SUMMARIES}
    assert complete("tinsmith exp") == ["export"]


def test_options(complete: Complete) -> None:
    wanted = {
        word
        for action in shown(all_parsers()["export"])
        for word in action.option_strings
        if word.startswith("--")
    }
    assert {"--recipe", "--config", "--help"} < wanted
    assert wanted <= {*complete("tinsmith export --"), "-h"}
    assert complete("tinsmith export --recip") == ["--recipe"]
    assert "--recipe" not in complete("tinsmith inspect --")


def test_values(complete: Complete) -> None:
    assert sorted(complete("tinsmith export --recipe ")) == ["auto", "calibrated", "ptq", "qat"]
    assert complete("tinsmith export --weight-bits 7") == ["7"]
    assert complete("tinsmith train --epochs ") == []
    assert sorted(complete("tinsmith completion ")) == ["bash", "fish", "zsh"]


def test_files(complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my digits.tin").touch()
    (tmp_path / "mine").mkdir()
    for line in ("tinsmith inspect m", "tinsmith export --out m"):
        assert {name.rstrip("/") for name in complete(line)} == {"my digits.tin", "mine"}


def test_zsh(scripts: dict[str, Path], tmp_path: Path) -> None:
    """Zsh completes on a terminal alone: what it writes there is read."""
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    shutil.copy(scripts["zsh"], tmp_path / "_tinsmith")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "dumb", "PS1": "> "}
    ours, theirs = pty.openpty()
    line = ["zsh", "-f", "-i"]
    with subprocess.Popen(
        line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as shell:
        try:
            setup = f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u; echo re''ady\n"
            assert "ready" in _typed(ours, setup, "ready")
            assert "tinsmith export " in _typed(ours, "tinsmith expo\t", "export ")
            assert "--recipe " in _typed(ours, "--recip\t", "recipe ")
            assert "calibrated " in _typed(ours, "ca\t", "calibrated ")
        finally:
            shell.kill()
    os.close(ours)
    os.close(theirs)


def _typed(terminal: int, keys: str, wanted: str) -> str:
    os.write(terminal, keys.encode())
    seen, end = "", time.monotonic() + 30
    while wanted not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(
    shell: str, scripts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == scripts[shell].read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", scripts[shell]], check=True)


def test_another_shell(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(tinsmith.UsageError, match="expected bash, zsh, fish, got 'csh'"):
        tinsmith.completion("csh")
    with pytest.raises(SystemExit) as stop:
        main(["completion", "csh"])
    assert stop.value.code == 2
