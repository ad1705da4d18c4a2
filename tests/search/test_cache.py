import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tinsmith_bench import Options
from tinsmith_search.boards import Boards, Measurement
from tinsmith_search.cache import Cache, Entry
from tinsmith_search.errors import SearchError
from tinsmith_search.goals import parse_goals
from tinsmith_search.measuring import Measure


class Maker:
    """Makes an entry, and counts how often."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.times, self._pause_s = 0, pause_s

    def __call__(self, folder: Path) -> Mapping[str, Any]:
        self.times += 1
        (folder / "model.bin").write_bytes(b"weights")
        time.sleep(self._pause_s)
        return {"accuracy": 0.5}


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    make = Maker()
    first = Cache(tmp_path).get("train", {"seed": 1}, make)
    again = Cache(tmp_path).get("train", {"seed": 1}, make)
    assert make.times == 1
    assert (first.found, again.found) == (False, True)
    assert again == Entry(first.folder, first.key, {"accuracy": 0.5}, first.seconds, True)
    assert (again.folder / "model.bin").read_bytes() == b"weights"


@pytest.mark.parametrize(("stage", "what"), [("train", {"seed": 2}), ("export", {"seed": 1})])
def test_all_that_goes_in_decides(tmp_path: Path, stage: str, what: dict[str, int]) -> None:
    make = Maker()
    Cache(tmp_path).get("train", {"seed": 1}, make)
    Cache(tmp_path).get(stage, what, make)
    assert make.times == 2


@pytest.mark.parametrize("name", ["model.bin", "entry.json"])
@pytest.mark.parametrize("data", [b"", b"{}", b'{"key": 1, "files": []}', None])
def test_a_damaged_entry_is_made_again(tmp_path: Path, name: str, data: bytes | None) -> None:
    make, cache = Maker(), Cache(tmp_path)
    place = cache.get("train", {}, make).folder
    if data is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(data)
    found = cache.get("train", {}, make)
    assert (make.times, found.found, found.folder) == (2, False, place)
    assert cache.get("train", {}, make).found
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_what_was_measured_in_another_way_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Board(Boards):
        times = 0

        def measure(self, *_: Any, **__: Any) -> Measurement:
            self.times += 1
            return Measurement({"latency_us_p50": 7.0}, {}, "a Pi", {}, "kitchen", "int8")

    metrics = parse_goals(["minimize latency_us_p50 on pi4"]).measured
    board = Board(hardware={"pi4": "a Pi"})
    measure = Measure(metrics, board, Cache(tmp_path), print)
    for _ in range(2):
        assert measure(tmp_path, "key").measured_on == "pi4: a Pi"
    assert board.times == 1
    monkeypatch.setattr("tinsmith_search.measuring.OPTIONS", Options(rounds=7))
    measure(tmp_path, "key")
    assert board.times == 2


def test_workers_at_once_get_the_same_entry(tmp_path: Path) -> None:
    make, found = Maker(0.05), list[Entry]()
    threads = [
        threading.Thread(target=lambda: found.append(Cache(tmp_path).get("train", {}, make)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({entry.folder for entry in found}) == 1
    assert [entry.facts for entry in found] == [{"accuracy": 0.5}] * 8
    assert [path.name for path in tmp_path.iterdir()] == [found[0].folder.name]


def test_what_failed_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).get("train", {}, fail)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    def fail(folder: Path) -> Mapping[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(SearchError, match=r"cannot write to .*No space left on device"):
        Cache(tmp_path).get("train", {}, fail)


def test_old_leftovers_are_removed_and_new_ones_are_not(tmp_path: Path) -> None:
    old, new = tmp_path / ".partial-old", tmp_path / ".partial-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    Cache(tmp_path).clean()
    assert (old.exists(), new.exists()) == (False, True)
