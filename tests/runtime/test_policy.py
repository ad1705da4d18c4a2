"""What an installed folder remembers and asks of the next bundle: keys, releases."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinsmith_runtime import BundleError, TinsmithError, UsageError, load
from tinsmith_runtime.bundle.installation import RECORD, Installation, read_installation
from tinsmith_runtime.bundle.signature import generate_key, sign_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.deploy.install import install, rollback
from tinsmith_runtime.deploy.trial import boot

pytestmark = pytest.mark.slow

Make = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "digits"


@pytest.fixture
def make(forge: Callable[..., Path], tmp_path: Path) -> Make:
    """Makes bundles of a seed and a release, signed by a key if one is named."""
    for name in ("old", "new", "other"):
        generate_key(tmp_path / name)

    def write(seed: int, release: int = 0, key: str | None = None) -> Path:
        def edit(tree: Any) -> None:
            tree["training"]["seed"], tree["release"] = seed, release

        path = forge(edit=edit).rename(tmp_path / f"{seed}{key or ''}.tin")
        if key:
            sign_bundle(path, tmp_path / f"{key}.key")
        return path

    return write


@pytest.fixture
def pub(tmp_path: Path) -> Callable[..., list[Path]]:
    return lambda *names: [tmp_path / f"{name}.pub" for name in names]


def _record(home: Path) -> Installation:
    record = read_installation(home)
    assert record
    return record


def _seed(home: Path) -> int:
    with load(home) as model:
        return model.manifest.training.seed


def test_keys_are_asked_for_ever_after(
    make: Make, home: Path, pub: Callable[..., list[Path]]
) -> None:
    install(make(1), home)
    install(make(2, key="old"), home, pub("old"))
    assert len(_record(home).trusted_keys) == 1
    for bundle, said in (
        (make(3), "got no signature"),
        (make(4, key="other"), "got a signature that is not theirs"),
    ):
        with pytest.raises(
            BundleError, match=f"expected it signed by a key that the folder.*{said}"
        ):
            install(bundle, home)
    assert _seed(home) == 2
    with pytest.raises(BundleError, match="got no signature"):
        rollback(home)  # to the one from before there were keys
    install(make(5, key="old"), home)
    assert rollback(home).changed
    assert _seed(home) == 2


def test_other_keys_need_a_bundle_that_both_trust(
    make: Make, home: Path, pub: Callable[..., list[Path]]
) -> None:
    install(make(1, key="old"), home, pub("old"))
    for key, given in (("new", ["new"]), ("old", ["new"]), ("new", ["old", "new"])):
        with pytest.raises(BundleError, match="expected it signed by"):
            install(make(2, key=key), home, pub(*given))
    install(make(3, key="old"), home, pub("old", "new"))
    assert len(_record(home).trusted_keys) == 2
    install(make(4, key="new"), home, pub("new"))
    assert len(_record(home).trusted_keys) == 1
    with pytest.raises(BundleError, match="a signature that is not theirs"):
        install(make(5, key="old"), home)


def test_going_back_after_other_keys(
    make: Make, home: Path, pub: Callable[..., list[Path]]
) -> None:
    """`rollback` asks today's keys; `boot` takes what was installed, by its sha256."""
    install(make(1, key="old"), home, pub("old", "new"))
    install(make(2, key="new"), home, pub("new"), confirm=True)
    with pytest.raises(BundleError, match="expected it signed by a key that the folder trusts"):
        rollback(home)
    boot(home)
    assert boot(home).changed
    assert _seed(home) == 1
    assert len(_record(home).trusted_keys) == 1


def test_the_current_bundle_again_with_other_keys(
    make: Make, home: Path, pub: Callable[..., list[Path]]
) -> None:
    bundle = make(1, key="old")
    install(bundle, home, pub("old"))
    done = install(bundle, home, pub("old", "new"))
    assert not done.changed
    assert len(_record(home).trusted_keys) == 2


def test_keys_that_are_none(
    make: Make, home: Path, pub: Callable[..., list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="trusted_keys: expected a list of at least one"):
        install(make(1), home, [])
    for number in range(65):
        generate_key(tmp_path / str(number))
    with pytest.raises(UsageError, match="--trusted-key: expected at most 64 keys, got 65"):
        install(make(1), home, pub(*range(65)))
    assert not home.exists()


def test_an_older_release(make: Make, home: Path) -> None:
    install(make(1, release=1), home)
    install(make(2, release=3), home)
    old = make(3, release=2)
    with pytest.raises(
        BundleError, match=r"3\.tin: expected release 3 or later, got 2: .*--allow-d"
    ):
        install(old, home)
    assert rollback(home).changed
    assert _seed(home) == 1
    with pytest.raises(BundleError, match="expected release 3"):
        install(old, home)
    assert main(["install", str(old), str(home), "--allow-downgrade", "--quiet"]) == 0
    assert not install(old, home).changed  # the current one may always be installed again
    assert _record(home).release == 3
    install(make(4, release=3), home)


def test_a_bundle_that_failed_a_gate(
    forge: Callable[..., Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(tree: Any) -> None:
        tree["failures"] = ["TFLite: 25.00 points lost"]

    rejected = forge(edit=edit)
    with pytest.raises(BundleError, match=r"met its gates, .*: TFLite: 25\.00 points lost: export"):
        install(rejected, home)
    assert not home.exists()
    assert main(["install", str(rejected), str(home), "--allow-failed", "--quiet"]) == 0
    assert not install(rejected, home).changed
    assert "Traceback" not in capsys.readouterr().err


def test_what_was_installed_meanwhile_is_asked_too(
    make: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-test takes its time, and the folder is not locked for it."""
    newer, older = make(1, release=2), make(2, release=1)

    def selftest(path: Path, _: object) -> None:
        if path == older:
            install(newer, home)

    monkeypatch.setattr("tinsmith_runtime.deploy.install._require_selftest", selftest)
    with pytest.raises(BundleError, match="expected release 2"):
        install(older, home)
    assert _seed(home) == 1


def test_a_rollback_that_another_install_overtakes(
    make: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = make(1), make(2), make(3)
    install(first, home)
    install(second, home)

    def selftest(path: Path, _: object) -> None:
        if path != third:
            install(third, home)

    monkeypatch.setattr("tinsmith_runtime.deploy.install._require_selftest", selftest)
    with pytest.raises(TinsmithError, match="changed by another install meanwhile: try again"):
        rollback(home)
    assert _seed(home) == 3


def test_another_bundle_under_its_name(make: Make, home: Path) -> None:
    first, second = make(1), make(2)
    current = home / f"{install(first, home).current}.tin"
    current.write_bytes(second.read_bytes())
    with pytest.raises(BundleError, match="holds another bundle than its name says: install again"):
        load(home)
    assert install(first, home).changed
    assert _seed(home) == 1
    install(second, home)
    current.write_bytes(second.read_bytes())
    with pytest.raises(BundleError, match="holds another bundle than its name says"):
        rollback(home)


def test_a_record_of_version_1(make: Make, home: Path) -> None:
    first, second, third = make(1), make(2), make(3)
    install(first, home)
    install(second, home)
    before = _record(home)
    names = {"current": before.current, "previous": before.previous}
    (home / RECORD).write_text(json.dumps(names))
    assert _record(home) == Installation(before.current, before.previous)
    assert _seed(home) == 2
    install(third, home)
    assert json.loads((home / RECORD).read_text())["record_version"] == 2
    assert _record(home).previous == names["current"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"record_version": 3, "novelty": 1}, "record_version: expected 1 to 2, got 3: upgrade"),
        ({"record_version": True}, "record_version: expected 1 to 2, got True"),
        ({"record_version": 1}, "record_version: expected 2, for 'failed'"),
        ({"trial": {"boots": 2, "release": 0}}, "trial.boots: expected 0 or 1, got 2"),
        ({"trusted_keys": ["ab"]}, "trusted_keys[0]: expected 64 hex digits, got 'ab'"),
        ({"failed": ["a" * 64] * 257}, "failed: expected at most 256"),
        ({"release": -1}, "release: expected 0 to 2147483647, got -1"),
        ({"current": "../x"}, "current: expected 64 hex digits"),
    ],
)
def test_a_wrong_record(
    make: Make,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    changes: dict[str, object],
    said: str,
) -> None:
    bundle = make(1)
    install(bundle, home)
    tree = json.loads((home / RECORD).read_text())
    (home / RECORD).write_text(json.dumps({**tree, **changes}))
    for words in (["inspect"], ["install", str(bundle)], ["boot"], ["confirm"]):
        assert main([*words, str(home)]) == 1
        assert f"digits: installed.json: {said}" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "twice"])
def test_a_record_that_is_none(
    make: Make,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    kind: str,
) -> None:
    bundle = make(1)
    install(bundle, home)
    record = home / RECORD
    text = record.read_text()
    record.unlink()
    if kind == "pipe":
        os.mkfifo(record)
    elif kind == "device":
        record.symlink_to("/dev/zero")
    elif kind == "twice":
        record.write_text(text.replace('"failed"', '"failed": [], "failed"'))
    else:
        with record.open("wb") as stream:
            stream.truncate(1 << 40)  # a hole: it takes no room on the disk
    for words in (["inspect"], ["install", str(bundle)], ["boot"], ["confirm"]):
        assert main([*words, str(home)]) == 1
        assert "digits: installed.json: " in one_line(capsys.readouterr().err)


def test_all_that_may_be_remembered_is_read_again(home: Path) -> None:
    """The largest record there may be is smaller than what is read of one."""
    from tinsmith_runtime.bundle.installation import MAX_FAILED, MAX_KEYS, Trial, dump_installation

    digest = "a" * 64
    largest = Installation(
        digest, digest, (digest,) * MAX_KEYS, (1 << 31) - 1, (digest,) * MAX_FAILED, Trial(1, 0)
    )
    home.mkdir()
    (home / RECORD).write_bytes(dump_installation(largest))
    assert read_installation(home) == largest
