"""A bundle on trial: confirmed, or gone back from at the second start."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinsmith_runtime import BundleError, TinsmithError, UsageError, load
from tinsmith_runtime.bundle.installation import Installation, Trial, read_installation
from tinsmith_runtime.cli import main
from tinsmith_runtime.deploy.install import install, rollback
from tinsmith_runtime.deploy.trial import boot, confirm

pytestmark = pytest.mark.slow

Make = Callable[..., Path]


@pytest.fixture
def make(forge: Callable[..., Path], tmp_path: Path) -> Make:
    """Makes whole bundles that differ: in the seed that they were trained with."""

    def write(seed: int, release: int = 0) -> Path:
        def edit(tree: Any) -> None:
            tree["training"]["seed"], tree["release"] = seed, release

        return forge(edit=edit).rename(tmp_path / f"{seed}.tin")

    return write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "digits"


def _record(home: Path) -> Installation:
    record = read_installation(home)
    assert record
    return record


def _seed(home: Path) -> int:
    with load(home) as model:
        return model.manifest.training.seed


def _files(home: Path) -> dict[str, tuple[int, int]]:
    """What a write would change."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in home.iterdir()}


def test_confirmed(make: Make, home: Path) -> None:
    install(make(1), home)
    done = install(make(2, release=5), home, confirm=True)
    assert (done.changed, done.on_trial) == (True, True)
    assert _seed(home) == 2
    assert _record(home).release == 0
    started = boot(home)
    assert (started.changed, started.on_trial, started.current) == (False, True, done.current)
    ended = confirm(home)
    assert (ended.changed, ended.on_trial, ended.previous) == (True, False, done.previous)
    assert _record(home).release == 5
    before = _files(home)
    for again in (boot, boot, boot, confirm):
        assert not again(home).changed
    assert _seed(home) == 2
    assert _files(home) == before


def test_not_confirmed(make: Make, home: Path) -> None:
    first, second, third = make(1), make(2), make(3, release=9)
    install(first, home)
    install(second, home)
    old = _record(home)
    failing = install(third, home, confirm=True).current
    boot(home)
    assert _seed(home) == 3
    back = boot(home)
    assert (back.changed, back.on_trial, back.current, back.previous) == (
        (True, False, old.current, None)
    )
    assert _seed(home) == 2
    assert _record(home) == Installation(old.current, None, failed=(failing,))
    assert not (home / f"{failing}.tin").exists()
    for on_trial in (True, False):
        with pytest.raises(
            BundleError, match=r"3\.tin: failed its trial in this folder: .*--allow-f"
        ):
            install(third, home, confirm=on_trial)
    install(make(4, release=10), home)
    assert _record(home).failed == (failing,)
    install(third, home, confirm=True, allow_failed=True, allow_downgrade=True)
    assert _record(home).failed == ()
    assert _record(home).release == 10


def test_load_never_ends_a_trial(make: Make, home: Path) -> None:
    install(make(1), home)
    install(make(2), home, confirm=True)
    before = _files(home)
    for _ in range(5):
        assert _seed(home) == 2
    assert _files(home) == before


def test_without_a_previous_bundle(make: Make, home: Path) -> None:
    """There is nothing to go back to, so the only bundle goes on being tried."""
    install(make(1), home, confirm=True)
    assert boot(home).warnings == ()
    for _ in range(2):
        done = boot(home)
        assert (done.changed, done.on_trial) == (False, True)
        assert "failed its trial, but cannot go back: there is no previous" in done.warnings[0]
    assert confirm(home).changed
    assert _seed(home) == 1


@pytest.mark.parametrize("what", ["missing", "damaged", "another"])
def test_previous_bundle_is_not_whole(make: Make, home: Path, what: str) -> None:
    """What may work is better than what cannot load."""
    first, second = make(1), make(2)
    previous = home / f"{install(first, home).current}.tin"
    install(second, home, confirm=True)
    boot(home)
    if what == "missing":
        previous.unlink()
    else:
        previous.write_bytes(b"x" if what == "damaged" else second.read_bytes())
    done = boot(home)
    assert (done.changed, done.on_trial) == (False, True)
    assert "cannot go back" in done.warnings[0]
    assert _seed(home) == 2


def test_confirmed_before_it_was_started(make: Make, home: Path) -> None:
    """A program that still runs the old bundle cannot confirm the new one."""
    install(make(1), home)
    install(make(2), home, confirm=True)
    with pytest.raises(TinsmithError, match="was not started yet: `tinsmith boot` notes a start"):
        confirm(home)
    assert _record(home).trial == Trial(0, 0)


def test_install_during_a_trial(make: Make, home: Path) -> None:
    """The way back leads to the bundle that was confirmed."""
    first, second, third = make(1), make(2), make(3)
    old = install(first, home).current
    install(second, home, confirm=True)
    boot(home)
    again = install(second, home)
    assert (again.changed, again.on_trial) == (False, True)
    assert _record(home).trial == Trial(1, 0)
    done = install(third, home, confirm=True)
    assert (done.previous, _record(home).trial) == (old, Trial(0, 0))
    assert install(second, home).previous == old
    assert _record(home).trial is None
    install(third, home, confirm=True)
    second_digest = _record(home).previous
    done = install(second, home)
    assert (done.current, done.previous, done.on_trial) == (second_digest, None, False)


def test_rollback_during_a_trial(make: Make, home: Path) -> None:
    old = install(make(1), home).current
    failing = install(make(2), home, confirm=True).current
    done = rollback(home)
    assert (done.current, done.previous, done.on_trial) == (old, None, False)
    assert _record(home).failed == (failing,)
    with pytest.raises(UsageError, match="keeps no previous bundle"):
        rollback(home)


def test_going_back_asks_for_no_release(make: Make, home: Path) -> None:
    install(make(1, release=1), home)
    install(make(2, release=2), home)
    assert rollback(home).changed
    install(make(3, release=3), home, confirm=True)
    boot(home)
    assert boot(home).changed
    assert _seed(home) == 1


def test_no_installed_folder(home: Path, tmp_path: Path, tiny: Path) -> None:
    home.mkdir()
    for place in (home, tmp_path / "none", tiny):
        for act in (boot, confirm):
            with pytest.raises(UsageError, match="expected an installed folder"):
                act(place)
    assert list(home.iterdir()) == []


def test_commands(make: Make, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make(1), make(2)
    assert main(["install", str(first), str(home), "--quiet"]) == 0
    assert main(["install", "--confirm", str(second), str(home)]) == 0
    assert "on trial, keeps" in capsys.readouterr().out
    assert main(["confirm", str(home), "--json"]) == 1
    assert "was not started yet" in capsys.readouterr().err
    for command, changed, on_trial in (
        ("boot", False, True),
        ("confirm", True, False),
        ("confirm", False, False),
        ("boot", False, False),
    ):
        assert main([command, str(home), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said.keys() == {
            "folder", "changed", "current", "previous", "on_trial", "warnings"
        }  # fmt: skip
        assert (said["changed"], said["on_trial"]) == (changed, on_trial)
    assert main(["install", "--confirm", str(make(3)), str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["on_trial"] is True
    assert main(["boot", str(home)]) == 0
    assert "digits: starts " in capsys.readouterr().out
    assert main(["boot", str(home)]) == 0
    assert "digits: went back to " in capsys.readouterr().out
    assert main(["boot", str(home), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_warnings_go_to_stderr(make: Make, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(make(1), home, confirm=True)
    for _ in range(2):
        assert main(["boot", str(home), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("tinsmith: warning: ")
    assert len(captured.out.splitlines()) == 2


def test_boot_starts_no_engine(
    child: Callable[..., subprocess.CompletedProcess[str]], make: Make, home: Path
) -> None:
    """It stands before each start of a service."""
    install(make(1), home)
    install(make(2), home, confirm=True)
    script = f"""
import sys
from tinsmith_runtime.cli.install_command import boot, confirm
for act in (boot, boot, boot, confirm):
    act({str(home)!r})
tops = {{name.partition(".")[0] for name in sys.modules}}
assert not tops & {{"ai_edge_litert", "onnxruntime", "tflite_runtime", "cryptography", "PIL"}}, tops
"""
    done = child("-c", script)
    assert (done.returncode, done.stderr) == (0, "")
