"""Types a page's commands: `tinsmith` with less work than readers give it, a shell for the rest."""

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from docs.pages import Block, lines_of, words_of

from tinsmith_runtime.cli import main

# Installing and building have tests of their own.
NOT_TYPED = ("pip", "pipx", "uv", "make")
_ENVIRONMENT = re.compile(r"-m venv |/bin/activate\b")
_SMALLER = {"mnist": "digits", "scenes": "digit-scenes"}
_GATE = re.compile(r"\b(latency_us_p\d\d|engine_us_p\d\d|start_ms) > [\d.]+x")
_LESS = {
    "train": ["--epochs", "1"],
    "export": ["--qat-steps", "2"],
    "bench": ["--quick", "--rounds", "2"],
}


def cheaper(words: Sequence[str]) -> list[str]:
    """Gives the words behind `tinsmith` with a smaller dataset and fewer steps.

    So few rounds say nothing of a latency: a gate on one becomes wide.
    """
    data = ["--data", "digits"] if words[0] == "train" and "--data" not in words else []
    found = [_GATE.sub(r"\1 > 9x", _SMALLER.get(word, word)) for word in words]
    return [*found, *data, *_LESS.get(words[0], [])]


def is_done(words: Sequence[str]) -> bool:
    """Whether the words behind `tinsmith` are what the demo has done."""
    return words[0] == "demo" or (words[0] == "train" and "runs/demo" in words)


def is_plain(line: str) -> bool:
    """Whether no shell is needed for a line."""
    words = words_of(line)
    bare = re.sub(r"'[^']*'", "", line.partition(" #")[0])
    return words[0] == "tinsmith" and not re.search(r"[$*?~`]|[|&;<>()]", _unquoted(bare))


def _unquoted(text: str) -> str:
    return re.sub(r'"[^"$`]*"', "", text)


def type_block(block: Block, folder: Path) -> None:
    """Types a block in a folder, and fails where a line of it fails.

    Lines of `tinsmith` alone run in this process, which imports TensorFlow once.
    """
    lines = [
        line.replace("/opt/models", "./opt")
        for line in lines_of(block)
        if words_of(line)[0] not in NOT_TYPED and not _ENVIRONMENT.search(line)
    ]
    status = int(block.marks.get("ends with status", "0"))
    if all(map(is_plain, lines)):
        for number, line in enumerate(lines, start=1):
            expected = status if number == len(lines) else 0
            assert _type(words_of(line)[1:], folder) == expected, f"{block}: {line}"
    else:
        done = _in_shell("\n".join(lines), folder)
        assert done.returncode == status, f"{block}: {done.stdout}{done.stderr}"


def _type(words: list[str], folder: Path) -> int:
    if is_done(words):
        return 0
    with chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a process of its own
        try:
            return main(cheaper(words))
        except SystemExit as done:  # --help, --version
            return int(done.code or 0)


def _in_shell(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A shell that finds this Python's programs, and a `tinsmith` that does less."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name in NOT_TYPED:
        _program(programs / name, "exit 0")
    tests = Path(__file__).parents[1]
    _program(
        programs / "tinsmith", f'PYTHONPATH="{tests}" exec "{sys.executable}" -m docs.commands "$@"'
    )
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["/bin/sh", "-euc", text],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


if __name__ == "__main__":
    sys.exit(0 if is_done(sys.argv[1:]) else main(cheaper(sys.argv[1:])))
