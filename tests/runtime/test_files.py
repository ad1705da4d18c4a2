"""Files that are no files, and files that are whole or not there."""

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from tinsmith_runtime.errors import TinsmithError, printable
from tinsmith_runtime.files import UNFINISHED, open_regular, read_regular, write_whole


@pytest.fixture
def strange(tmp_path: Path) -> dict[str, Path]:
    """One of each kind that is no file; to open the pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    return {name: tmp_path / name for name in ("pipe", "folder", "zero", "loop")}


def test_what_is_no_file_is_not_opened(strange: dict[str, Path]) -> None:
    said = {}
    for name, path in strange.items():
        with pytest.raises(OSError) as caught:  # noqa: PT011 its words are compared below
            open_regular(path)
        said[name] = caught.value.strerror
    assert said == {
        "pipe": "expected a file, found a pipe",
        "folder": "expected a file, found a folder",
        "zero": "expected a file, found a device",
        "loop": "Too many levels of symbolic links",
    }


def test_a_link_is_followed_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 4) == b"data"
    with pytest.raises(OSError, match="expected a file, found a link"):
        read_regular(tmp_path / "link", 4, follow=False)


def test_what_became_a_pipe_after_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")
    really = os.open

    def swap(name: Path, *words: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return really(name, *words)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(OSError, match="expected a file, found a pipe"):
        open_regular(path)


def test_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(OSError, match="expected at most 4 bytes, got 5"):
        read_regular(path, 4)
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: it takes no room on the disk
    with pytest.raises(OSError, match="expected at most 1000000000 bytes, got 1099511627776"):
        read_regular(path, 10**9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_a_file_that_says_it_is_empty() -> None:
    assert b"VmHWM" in read_regular("/proc/self/status", 1 << 20)
    with pytest.raises(OSError, match="expected at most 10 bytes, got more"):
        read_regular("/proc/self/status", 10)


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_whole(path, b"1")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    for mode in (0o600, 0o664, 0o755):
        path.chmod(mode)
        write_whole(path, b"2")
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_only_a_file_is_replaced(strange: dict[str, Path], tmp_path: Path) -> None:
    for name, found in (("pipe", "a pipe"), ("folder", "a folder")):
        with pytest.raises(
            TinsmithError, match=f"cannot be written: expected a file, found {found}"
        ):
            write_whole(strange[name], b"1")
    write_whole(strange["zero"], b"1")  # the link goes, what it led to stays
    assert strange["zero"].read_bytes() == b"1"
    assert not strange["zero"].is_symlink()
    assert len(list(tmp_path.iterdir())) == len(strange)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    expected = TinsmithError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_whole(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"old"


def test_two_writers_never_give_a_torn_file(tmp_path: Path) -> None:
    path, contents = tmp_path / "x", [bytes([i]) * 100_000 for i in range(4)]
    write_whole(path, contents[0])
    done = threading.Event()

    def write(data: bytes) -> None:
        while not done.is_set():
            write_whole(path, data)

    writers = [threading.Thread(target=write, args=(data,)) for data in contents]
    for writer in writers:
        writer.start()
    try:
        seen = {path.read_bytes() for _ in range(300)}
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert seen <= set(contents)
    assert len(seen) > 1
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_its_name_cannot_be_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed leaves a name that `UNFINISHED` matches; no two are the same."""
    names = []
    really = os.replace

    def noted(beside: str, path: Path) -> None:
        names.append(Path(beside).name)
        really(beside, path)

    monkeypatch.setattr(os, "replace", noted)
    for _ in range(3):
        write_whole(tmp_path / ("x" * 250), b"1")
    assert len(set(names)) == 3
    assert all(re.fullmatch(UNFINISHED, name) for name in names)


def test_what_a_terminal_may_show() -> None:
    assert printable("Zahl 7: größe 寸") == "Zahl 7: größe 寸"
    assert printable("\x1b[31mred\n\x07\x9b\u202e\udcff") == r"\x1b[31mred\n\x07\x9b\u202e\udcff"
    assert str(TinsmithError("a\x1b]0;b\nc")) == r"a\x1b]0;b c"
