import hashlib
import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinsmith_runtime import BundleError, load
from tinsmith_runtime.cli import main
from tinsmith_runtime.deploy.lock import LOCK

# Runs the command, and dies without a word before the file-system step of that number.
DRIVER = """
import os, signal, sys
from tinsmith_runtime.cli import main
left = int(sys.argv[1])
def counted(step):
    def run(*words, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*words, **options)
    return run
import tinsmith_runtime.deploy.lock as lock
acquire = lock._acquire
def acquired(*words):
    acquire(*words)
    for name in ("open", "write", "fsync", "replace", "rename", "unlink", "close"):
        setattr(os, name, counted(getattr(os, name)))
lock._acquire = acquired
import tinsmith_runtime.deploy.install as install
install._require_selftest = lambda *words: None
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def make(forge: Callable[..., Path], tmp_path: Path) -> Callable[[int], Path]:
    """Makes whole bundles that differ: in the seed that they were trained with."""

    def write(seed: int) -> Path:
        forged = forge(edit=lambda tree: tree["training"].update(seed=seed))
        return forged.rename(tmp_path / f"{seed}.tin")

    return write


@pytest.fixture
def without_selftest(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the switch alone, which install hundreds of times."""
    monkeypatch.setattr("tinsmith_runtime.deploy.install._require_selftest", lambda *_: None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "digits"


def _seed(folder: Path) -> int:
    with load(folder) as model:
        assert model.predict(np.zeros((1, 8, 8, 1), np.uint8)).shape == (1, 3)
        return model.manifest.training.seed


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record(folder: Path) -> tuple[str, str | None]:
    tree = json.loads((folder / "installed.json").read_text())
    return tree["current"], tree["previous"]


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def _installed(home: Path, *bundles: Path) -> None:
    for bundle in bundles:
        assert main(["install", "--quiet", str(bundle), str(home)]) == 0


def test_install_and_rollback(
    make: Callable[[int], Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (make(seed) for seed in (1, 2, 3))
    assert main(["install", str(first), str(home)]) == 0
    assert capsys.readouterr().out == (
        f"{home}: installed {_digest(first)[:12]}, keeps no previous bundle\n"
    )
    assert _seed(home) == 1
    _installed(home, second, third)
    assert capsys.readouterr().out == ""
    assert _seed(home) == 3
    assert set(_snapshot(home)) == {
        "installed.json", f"{_digest(second)}.tin", f"{_digest(third)}.tin"
    }  # fmt: skip
    assert main(["install", "--rollback", str(home)]) == 0
    assert f"rolled back to {_digest(second)[:12]}" in capsys.readouterr().out
    assert _seed(home) == 2
    assert main(["install", "--rollback", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(home),
        "changed": True,
        "current": _digest(third),
        "previous": _digest(second),
        "on_trial": False,
        "warnings": [],
    }
    assert _seed(home) == 3


def test_other_commands_take_the_folder(
    tiny: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _installed(home, tiny)
    assert main(["inspect", str(tiny)]) == 0
    expected = capsys.readouterr().out
    assert main(["inspect", str(home)]) == 0
    assert capsys.readouterr().out == expected


def test_from_a_folder(folder: Path, tiny: Path, home: Path) -> None:
    _installed(home, folder)
    assert _record(home) == (_digest(tiny), None)


def test_current_one_again(
    make: Callable[[int], Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make(1), make(2)
    _installed(home, first, second)
    before = _snapshot(home)
    assert main(["install", str(second), str(home)]) == 0
    assert f"already holds {_digest(second)[:12]}, keeps {_digest(first)[:12]}" in (
        capsys.readouterr().out
    )
    assert main(["install", str(second), str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert _snapshot(home) == before


def test_previous_one_again(make: Callable[[int], Path], home: Path) -> None:
    first, second = make(1), make(2)
    _installed(home, first, second, first)
    assert _record(home) == (_digest(first), _digest(second))
    assert _seed(home) == 1


def test_current_one_again_after_damage(
    make: Callable[[int], Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make(1), make(2)
    _installed(home, first, second)
    (home / f"{_digest(second)}.tin").write_bytes(b"x")
    with pytest.raises(BundleError):
        load(home)
    assert main(["install", str(second), str(home)]) == 0
    assert f": installed {_digest(second)[:12]}" in capsys.readouterr().out
    assert _seed(home) == 2
    assert _record(home) == (_digest(second), _digest(first))


@pytest.mark.both_engines
def test_failing_bundles_change_nothing(
    make: Callable[[int], Path],
    home: Path,
    tmp_path: Path,
    wrong_answers: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    first, second = make(1), make(2)
    damaged = tmp_path / "damaged.tin"
    damaged.write_bytes(first.read_bytes()[:-1])
    for path, message in ((wrong_answers, "golden vector 0, output 0: differs"), (damaged, "zip")):
        assert main(["install", str(path), str(home)]) == 1
        error = one_line(capsys.readouterr().err)
        assert error.startswith(f"tinsmith: error: {path}: ")
        assert message in error
        assert not home.exists()
    _installed(home, first, second)
    before = _snapshot(home)
    for path in (wrong_answers, damaged):
        assert main(["install", str(path), str(home)]) == 1
        one_line(capsys.readouterr().err)
        assert _snapshot(home) == before


def test_rollback_to_a_damaged_bundle(
    make: Callable[[int], Path],
    home: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    first, second = make(1), make(2)
    _installed(home, first, second)
    previous = home / f"{_digest(first)}.tin"
    previous.write_bytes(b"x")
    assert main(["install", "--rollback", str(home)]) == 1
    assert "expected a zip" in one_line(capsys.readouterr().err)
    previous.unlink()
    assert main(["install", "--rollback", str(home)]) == 1
    assert "missing" in one_line(capsys.readouterr().err)
    assert _seed(home) == 2


def test_damaged_record(
    tiny: Path, home: Path, capsys: pytest.CaptureFixture[str], one_line: Callable[[str], str]
) -> None:
    _installed(home, tiny)
    for text in ("", "[]", "[" * 100_000, '{"current": "../x", "previous": null}'):
        (home / "installed.json").write_text(text)
        for words in (["inspect"], ["install", str(tiny)], ["install", "--rollback"]):
            assert main([*words, str(home)]) == 1
            assert f"{home}: installed.json: " in one_line(capsys.readouterr().err)


def test_missing_bundle(tiny: Path, home: Path) -> None:
    _installed(home, tiny)
    (home / f"{_digest(tiny)}.tin").unlink()
    with pytest.raises(BundleError, match=r"\.tin: missing: install it again"):
        load(home)


def test_misuse(
    tiny: Path,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.png").write_text("x")
    (tmp_path / "empty").mkdir()
    _installed(home, tiny)
    for words, message in (
        ([tiny, tmp_path / "file"], "file: expected a folder, found a file"),
        ([tiny, tmp_path / "file" / "x"], "file: no such folder"),
        ([tiny, tmp_path / "none" / "x"], "none: no such folder"),
        ([tiny, tmp_path / "full"], "full: holds other files"),
        ([tmp_path / "none.tin", home], "none.tin: no such bundle"),
        (["--rollback", home], "digits: keeps no previous bundle"),
        (["--rollback", tmp_path / "empty"], "empty: keeps no previous bundle"),
        (["--rollback", tmp_path / "none"], "none: expected an installed folder"),
        (["--rollback", tmp_path / "file"], "file: expected an installed folder"),
        (["--rollback", tiny, home], "expected FOLDER alone"),
        (["--rollback", "--confirm", home], "--confirm does not go with --rollback"),
        (["--wait", "nan", tiny, home], "--wait: expected 0 seconds or more, got nan"),
        (["--wait", "-1", tiny, home], "--wait: expected 0 seconds or more, got -1"),
        ([home], "expected BUNDLE FOLDER, or --rollback FOLDER"),
    ):
        assert main(["install", *map(str, words)]) == 2
        assert message in one_line(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["photo.png"]


@pytest.mark.parametrize("mode", [0, 0o555])
def test_no_permission(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    tmp_path: Path,
    mode: int,
    one_line: Callable[[str], str],
) -> None:
    parent = tmp_path / "models"
    parent.mkdir(mode)
    script = f"""
import os, sys
import tinsmith_runtime.deploy.install as module
from tinsmith_runtime.cli import main
real = module.install
def install(*words, **options):
    if os.geteuid() == 0:  # root may do anything
        os.setuid(65534)
    return real(*words, **options)
module.install = install
sys.exit(main(["install", {str(tiny)!r}, {str(parent / "digits")!r}]))"""
    done = child("-c", script)
    assert done.returncode == 2, done.stderr
    assert "no permission" in one_line(done.stderr)


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there: 30 processes are killed")
@pytest.mark.usefixtures("without_selftest")
@pytest.mark.parametrize("what", ["first install", "install"])
def test_killed_at_every_step(
    what: str,
    make: Callable[[int], Path],
    child: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    first, second, third, fourth = (make(seed) for seed in (1, 2, 3, 4))
    old: tuple[int, str, str | None] | None = (2, _digest(second), _digest(first))
    new: tuple[int, str, str | None] = (3, _digest(third), _digest(second))
    if what == "first install":
        old, new = None, (3, _digest(third), None)
    seen = set()
    for step in range(100):
        home = tmp_path / f"digits{step}"
        if old:
            _installed(home, first, second)
        done = child("-c", DRIVER, step, "install", third, home)
        if old or (home / "installed.json").exists():
            state = (_seed(home), *_record(home))
            assert state in (old, new)
            seen.add(state)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        current = _record(home)[0] if (home / "installed.json").exists() else None
        _installed(home, fourth)
        assert _record(home) == (_digest(fourth), current)
        assert len(_snapshot(home)) == (3 if current else 2), "left-overs"
    assert step >= 6, "the driver counts no steps"
    assert seen == {state for state in (old, new) if state}


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="starts many processes, which take seconds each there")
def test_at_the_same_time(make: Callable[[int], Path], home: Path) -> None:
    bundles = [make(seed) for seed in range(4)]
    _installed(home, bundles[0])
    line = [sys.executable, "-m", "tinsmith_runtime", "install"]
    children = [
        subprocess.Popen([*line, bundle, home], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for bundle in bundles * 2
    ]
    while any(process.poll() is None for process in children):
        assert _seed(home) in range(4)
    assert [process.communicate()[1] for process in children] == [b""] * 8
    assert {process.returncode for process in children} == {0}
    assert set(_snapshot(home)) == {"installed.json", *(f"{name}.tin" for name in _record(home))}
    assert _seed(home) in range(4)


class Disk:
    """What a disk may hold of a folder after a power cut, whatever the system has cached.

    Of a file, what was there when it was last flushed, or half of it if it never was. Of the names,
    those when the folder was last flushed, and any of the changes since.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._flushed: dict[int, bytes] = {}
        self._held: dict[int, int] = {}  # open files: else a number of one could be another's soon
        self._names = self._now()
        for path in self._paths():
            self._flushed[path.stat().st_ino] = path.read_bytes()

    def _paths(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []

    def _now(self) -> dict[str, int]:
        names = {path.name: path.stat().st_ino for path in self._paths()}
        for name, number in names.items():
            if number not in self._held:
                self._held[number] = os.open(self._folder / name, os.O_RDONLY)
        return names

    def flush(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._names = self._now()
        else:
            data = os.pread(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY), 1 << 30, 0)
            self._flushed[status.st_ino] = data

    def _data(self, number: int) -> bytes:
        half = os.fstat(self._held[number]).st_size // 2
        return self._flushed.get(number, os.pread(self._held[number], half, 0))

    def states(self) -> Iterator[dict[str, bytes]]:
        now = self._now()
        changed = [n for n in now.keys() | self._names.keys() if now.get(n) != self._names.get(n)]
        for kept in itertools.product((False, True), repeat=len(changed)):
            names = dict(self._names)
            for name in itertools.compress(changed, kept):
                names.pop(name, None)
                if name in now:
                    names[name] = now[name]
            yield {name: self._data(number) for name, number in names.items()}


@pytest.mark.usefixtures("without_selftest")
@pytest.mark.parametrize("what", ["first install", "install", "rollback", "boot", "confirm"])
def test_power_cut_at_every_step(
    what: str, make: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, fourth = (make(seed) for seed in (1, 2, 3, 4))
    home, seen = tmp_path / "digits", {}
    words, seeds = {
        "first install": (["install", third, home], {3}),
        "install": (["install", third, home], {2, 3}),
        "rollback": (["install", "--rollback", home], {1, 2}),
        "boot": (["boot", home], {1, 2}),
        "confirm": (["confirm", home], {2}),
    }[what]
    if what in ("boot", "confirm"):
        _installed(home, first)
        assert main(["install", "--confirm", str(second), str(home)]) == 0
        assert main(["boot", str(home)]) == 0
    elif what != "first install":
        _installed(home, first, second)
    disk = Disk(home)

    def noted(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any, **options: Any) -> Any:
            for state in disk.states():
                seen[frozenset(state.items())] = state
            result = step(*words, **options)
            if step is real_fsync:
                disk.flush(*words)
            for state in disk.states():
                seen[frozenset(state.items())] = state
            return result

        return run

    real_fsync = os.fsync
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "unlink"):
            patch.setattr(os, name, noted(getattr(os, name)))
        assert main([str(word) for word in words]) == 0
    for number, state in enumerate(seen.values()):
        cut = tmp_path / f"cut{number}"
        cut.mkdir()
        for name, data in state.items():
            (cut / name).write_bytes(data)
        if what == "first install" and "installed.json" not in state:
            with pytest.raises(BundleError, match="expected a file in the bundle's folder"):
                load(cut)
        else:
            assert _seed(cut) in seeds
        _installed(cut, fourth)
        assert _seed(cut) == 4
        assert all(
            re.fullmatch(r"[0-9a-f]{64}\.tin|installed\.json", name) for name in _snapshot(cut)
        )
    assert len(seen) >= 4


def test_left_overs_are_removed_and_nothing_else(make: Callable[[int], Path], home: Path) -> None:
    _installed(home, make(1))
    stale = [f".tinsmith-{'a' * 16}.tmp", f"{'a' * 64}.tin"]
    for name in [*stale, "notes.txt"]:
        (home / name).write_text("x")
    _installed(home, make(2))
    assert [name for name in _snapshot(home) if not re.fullmatch(r"[0-9a-f]{64}\.tin", name)]
    assert not set(stale) & set(_snapshot(home))
    assert (home / "notes.txt").read_text() == "x"
