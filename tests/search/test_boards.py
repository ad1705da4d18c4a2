"""Bundles are measured on two emulated boards: in turns, and although boards and owners die."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sshd
from search import emulated
from search.emulated import Emulated

from tinsmith_bench import Options, parse_report
from tinsmith_runtime import UsageError, read_bundle, write_bundle
from tinsmith_runtime.bundle import sha256
from tinsmith_search.api import _check_boards
from tinsmith_search.boards import Boards
from tinsmith_search.boards.line import only_one_here, turn_here
from tinsmith_search.errors import SearchError
from tinsmith_search.space import parse_space
from tinsmith_search.task import Task, tell

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"
QUICK = Options(rounds=2, processes=2, cold_starts=1, batches=(1,))
LONG = replace(QUICK, rounds=100_000, processes=100)
# What a compiler's process does with its bundles.
COMPILER = """
import sys
from pathlib import Path
from tinsmith_bench import Options
from tinsmith_search.boards import Boards
boards = Boards.read(Path(sys.argv[1]))
options = Options(rounds=int(sys.argv[2]), processes=2, cold_starts=1, batches=(1,))
def say(word, text):
    print(word, text, flush=True)
for path in sys.argv[3:]:
    found = boards.measure(Path(path), "pi4", options, tell=lambda text: say("told", text))
    say("measured", found.board)
"""

Start = Callable[..., Emulated]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts boards; at the end nothing may be left on those that still run."""
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    started: list[Emulated] = []

    def start(name: str, code: str = "") -> Emulated:
        folder = tmp_path / name
        folder.mkdir()
        try:
            started.append(emulated.start(name, folder, code))
        except sshd.MissingError as error:
            if os.environ.get("CI"):
                pytest.fail(f"missing: {error}")
            pytest.skip(f"missing: {error}")
        return started[-1]

    yield start
    for board in started:
        if board.server.process.poll() is None:
            board.server.require_clean()
            board.server.stop()


def _file(tmp_path: Path, *boards: Emulated) -> Path:
    path = tmp_path / "boards.toml"
    path.write_text("".join(board.table() for board in boards))
    return path


def _compiler(file: Path, *bundles: Path, rounds: int = 2) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", COMPILER, file, str(rounds), *bundles]
    return subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_board_measures_one_bundle_at_a_time(tmp_path: Path, start: Start) -> None:
    """Four compilers, eight bundles, two boards: both work, neither on two at once."""
    boards = [start("kitchen"), start("attic")]
    file = _file(tmp_path, *boards)
    compilers = [_compiler(file, TINY, TINY) for _ in range(4)]
    said = [compiler.communicate(timeout=300)[0] for compiler in compilers]
    assert [compiler.returncode for compiler in compilers] == [0] * 4
    assert "".join(said).count("measured ") == 8
    for board in boards:
        lines = list(map(str.split, board.log.read_text().splitlines()))
        assert [words[0] for words in lines] == ["begin", "end"] * (len(lines) // 2)
        assert not any("beside" in word for words in lines for word in words)
        times = [float(words[1]) for words in lines]
        assert times == sorted(times)
    count = [len(board.begun()) for board in boards]
    assert sum(count) == 8
    assert min(count) >= 2


@pytest.mark.slow
def test_what_a_lost_board_was_given_another_one_does(tmp_path: Path, start: Start) -> None:
    boards = [start("kitchen"), start("attic")]
    compiler = _compiler(_file(tmp_path, *boards), TINY, rounds=20)
    _wait_until(lambda: any(board.is_measuring() for board in boards))
    lost, other = sorted(boards, key=Emulated.is_measuring, reverse=True)
    lost.crash()
    said = compiler.communicate(timeout=120)[0].splitlines()
    assert compiler.returncode == 0
    assert said[-1] == f"measured {other.name}"
    assert any(
        line.startswith(f"told {lost.name} is lost, and tried again in 5 s") for line in said
    )
    assert len(other.begun()) == 1


@pytest.mark.slow
def test_the_turn_of_an_owner_who_is_killed_goes_to_the_next(tmp_path: Path, start: Start) -> None:
    board = start("kitchen")
    file = _file(tmp_path, board)
    owner = _compiler(file, TINY, rounds=100_000)
    _wait_until(board.is_measuring)
    second = _compiler(file, TINY)
    assert second.stdout
    told = second.stdout.readline()
    assert told.startswith("told kitchen: ")
    assert told.endswith(f"@{os.uname().nodename} measures there\n")
    os.kill(owner.pid, signal.SIGKILL)
    assert second.communicate(timeout=120)[0] == "measured kitchen\n"
    owner.communicate()
    assert len(board.begun()) == 2
    assert not any("beside" in word for words in board.begun() for word in words)


@pytest.mark.slow
def test_boards_that_differ_are_not_compared(tmp_path: Path, start: Start) -> None:
    other = "import platform\nplatform.machine = lambda: 'riscv64'\n"
    boards = Boards.read(_file(tmp_path, start("kitchen"), start("attic", other)))
    with pytest.raises(SearchError) as caught:
        boards.check(["pi4"], tell=lambda _: None)
    said = str(caught.value)
    assert "boards tagged pi4: expected the same hardware" in said
    assert "attic is" in said
    assert "kitchen is" in said
    assert "riscv64" in said
    assert "\n" not in said


@pytest.mark.slow
def test_a_board_that_is_another_than_the_study_knows(tmp_path: Path, start: Start) -> None:
    """It is refused at the start; one that was lost then, when it has measured."""
    kitchen, attic = start("kitchen"), start("attic")
    attic.crash()
    boards, told = Boards.read(_file(tmp_path, kitchen, attic)), list[str]()
    found = boards.check(["pi4"], tell=told.append)
    assert list(found) == ["pi4"]
    assert os.uname().machine in found["pi4"]
    assert told[1:] == [f"pi4: kitchen: {found['pi4']}"]
    assert told[0].startswith("attic is lost, and tried again later: 127.0.0.1: ssh: connect to")
    with pytest.raises(SearchError, match="pi4: this study was measured on a Pi; kitchen is"):
        Boards(boards.boards).check(["pi4"], {"pi4": "a Pi"}, tell=told.append)
    late = Boards(boards.boards[:1], {"pi4": "a Pi"})
    with pytest.raises(SearchError, match="measured on no board: kitchen: pi4: this study was"):
        late.measure(TINY, "pi4", QUICK)


@pytest.mark.slow
def test_this_machine_is_measured_in_turns_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a tag; the same lock, and nothing is left."""
    far = tmp_path / "far"
    far.mkdir()
    monkeypatch.setenv("TMPDIR", str(far))
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path))
    boards, told = Boards(), list[str]()
    known = boards.check([None], tell=told.append)
    assert told == [f"this machine measures: {known['this machine']}"]
    found = boards.measure(TINY, None, QUICK)
    assert found.measured_on == known["this machine"]
    assert found.board == "this machine"
    assert found.measured_on == parse_report(json.dumps(found.report)).machine.hardware
    assert found.variant in {variant["id"] for variant in found.report["variants"]}
    low, high = found.intervals["latency_us_p50"]
    assert 0 < low <= found.values["latency_us_p50"] <= high
    assert found.values["latency_us_p50"] <= found.values["latency_us_p99"]
    with pytest.raises(SearchError, match="expected a message within 0 s"):
        Boards().measure(TINY, None, LONG, limit_s=0, patience_s=0)
    _wait_until(lambda: not list(far.iterdir()))


@pytest.mark.slow
def test_a_bundle_that_fails_is_tried_once_on_each_board(tmp_path: Path, start: Start) -> None:
    """Golden outputs that no engine gives: the self-test there fails."""
    bundle, buffer = read_bundle(TINY), io.BytesIO()
    golden = bundle.golden()
    np.savez(
        buffer,
        inputs=golden.inputs,
        outputs_int8=np.bitwise_xor(golden.outputs_int8, 1),
        outputs_float=golden.outputs_float,
    )
    files = {one.file: bundle.files[one.file] for one in bundle.manifest.variants}
    files[bundle.manifest.golden.file] = buffer.getvalue()
    entry = replace(
        bundle.manifest.golden, size_bytes=len(buffer.getvalue()), sha256=sha256(buffer.getvalue())
    )
    write_bundle(tmp_path / "wrong.tin", replace(bundle.manifest, golden=entry), files)
    boards = [start("kitchen"), start("attic")]
    with pytest.raises(SearchError) as caught:
        Boards.read(_file(tmp_path, *boards)).measure(tmp_path / "wrong.tin", "pi4", QUICK)
    said = str(caught.value)
    assert said.count("the self-test failed: ") == 2
    assert "kitchen: 127.0.0.1: " in said
    assert "attic: 127.0.0.1: " in said
    assert [len(board.begun()) for board in boards] == [1, 1]


def test_boards_that_are_all_lost_are_waited_for_no_longer_than_was_said(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tried again and again, less and less often."""
    monkeypatch.setattr("tinsmith_search.boards.boards._FIRST_RETRY_S", 0.05)
    board, told = start("kitchen"), list[str]()
    board.crash()
    begin = time.monotonic()
    with pytest.raises(SearchError, match=r"no board answers: kitchen: 127.0.0.1: .*refused"):
        Boards.read(_file(tmp_path, board)).measure(
            TINY, "pi4", QUICK, patience_s=1, tell=told.append
        )
    assert 1 <= time.monotonic() - begin < 30
    assert 3 <= len(told) <= 6
    assert told[1].startswith("kitchen is lost, and tried again in")


def test_a_tag_that_no_board_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="on pi4: no board is known: name a file of boards with"):
        Boards().tagged("pi4")
    (tmp_path / "boards.toml").write_text('[boards.a]\nhost = "pi"\ntags = ["pi4", "pi5"]\n')
    boards = Boards.read(tmp_path / "boards.toml")
    assert [board.name for board in boards.tagged("pi5")] == ["a"]
    with pytest.raises(UsageError, match=r"'pi44': unknown tag: did you mean pi4\?"):
        boards.tagged("pi44")
    assert boards.tagged(None)[0].name == "this machine"


def test_workers_of_one_machine_come_in_one_after_the_other(tmp_path: Path) -> None:
    """Who gives up does not hold up those behind."""
    lock = tmp_path / "line" / "lock"
    late = pytest.raises(SearchError, match="other workers of this machine were in line for 0 s")
    with only_one_here(lock, 1), late, only_one_here(lock, 0.05):
        pass
    with only_one_here(lock, 5):
        pass
    refused = pytest.raises(SearchError, match="lock/x: cannot be written: File exists")
    with refused, only_one_here(lock / "x", 1):
        pass


def test_a_turn_of_this_machine_is_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the front takes it, as the measuring of trials does."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told, entered = list[str](), threading.Event()

    def enter() -> None:
        with turn_here(told.append):
            entered.set()

    other = threading.Thread(target=enter)
    with turn_here(told.append):
        other.start()
        _wait_until(lambda: bool(told))
        assert not entered.is_set()
    other.join(60)
    assert entered.is_set()
    assert [line.startswith("this machine: ") for line in told] == [True]
    assert told[0].endswith("measures here")


def test_two_machines_that_begin_at_once_on_different_hardware(tmp_path: Path) -> None:
    """Each has found no known hardware when it writes its own: it reads again."""
    model = {"family": "cnn", "depth": 1, "widths": [4]}
    space = parse_space({"model": model, "goals": {"objectives": ["minimize latency_us_p50"]}})
    study = optuna.create_study()

    class Other(Boards):
        def __init__(self, hardware: str, meanwhile: Callable[[], None]) -> None:
            super().__init__()
            self._found, self._meanwhile = {"this machine": hardware}, meanwhile

        def check(self, *_: Any, **__: Any) -> dict[str, str]:
            self._meanwhile()
            return self._found

    def begin(hardware: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        _check_boards(Task(space, "digits", tmp_path, 0, Other(hardware, meanwhile)), study)

    with pytest.raises(SearchError, match="on this machine: Pi 5; here it is this machine: Pi 4:"):
        begin("Pi 4", lambda: begin("Pi 5"))
    begin("Pi 5")
    begin("Pi 5", lambda: begin("Pi 5"))


def test_what_a_board_says_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("kitchen: \x1b[2J\u202e\nboard")
    assert capsys.readouterr().err == "tinsmith search: kitchen: \\x1b[2J\\u202e\\nboard\n"
