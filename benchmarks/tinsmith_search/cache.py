"""Keeps what each stage made, by the hash of all that went in: a resumed search makes it once.

`cache/STAGE-HASH/` holds the files of one stage, and `entry.json`: what went in, what came out, and
the hash of each file. It is written beside its place and renamed. Several workers may make the same
entry at once: the first one stays. An entry that is damaged is made again.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinsmith_search.errors import SearchError

_ENTRY = "entry.json"
_PARTIAL, _BROKEN = ".partial-", ".broken-"
_LEFT_BEHIND_S = 86_400.0  # no stage takes so long: whoever wrote it was killed
_MADE_WITH = ("tinsmith", "keras", "tensorflow", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Entry:
    """What a stage made.

    Attributes:
        folder: where its files are.
        key: the hash of all that went in, 64 hex digits.
        facts: what came out, as JSON holds it.
        seconds: how long it took to make.
        found: whether it was there already.
    """

    folder: Path
    key: str
    facts: Mapping[str, Any]
    seconds: float
    found: bool


Make = Callable[[Path], Mapping[str, Any]]


class Cache:
    """The entries of a run folder.

    Args:
        folder: of the cache, made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = {name: version(name) for name in _MADE_WITH}
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, stage: str, what: Mapping[str, Any], make: Make) -> Entry:
        """Gives an entry, made if it is not there.

        Args:
            stage: its name.
            what: all that decides what comes out, as JSON holds it; versions are added.
            make: writes files into an empty folder and returns the facts.
        """
        text = json.dumps({"stage": stage, **what, "versions": self._versions}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        place = self._folder / f"{stage}-{key[:20]}"
        if entry := _read(place, key):
            return entry
        started = time.perf_counter()
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._folder))
        try:
            facts = json.loads(json.dumps(make(partial)))
            files = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
            seconds = time.perf_counter() - started
            about = {"key": key, "of": text, "facts": facts, "files": files, "seconds": seconds}
            (partial / _ENTRY).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            return self._placed(partial, place, key)
        except OSError as error:
            raise SearchError(f"cannot write to {self._folder}: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _placed(self, partial: Path, place: Path, key: str) -> Entry:
        """Renames a finished entry to its place, unless another worker was faster."""
        for _ in range(3):
            if entry := _read(place, key):
                return entry
            if place.exists():  # damaged: out of the way first, as others may read it
                broken = Path(tempfile.mkdtemp(prefix=_BROKEN, dir=self._folder))
                place.rename(broken / place.name)
                shutil.rmtree(broken, ignore_errors=True)
            try:
                partial.rename(place)
            except OSError:  # another worker's is there now
                continue
            if entry := _read(place, key):
                return Entry(place, key, entry.facts, entry.seconds, found=False)
        raise SearchError(f"{place}: expected an entry that can be read: is the disk damaged?")

    def clean(self) -> None:
        """Removes what killed workers left behind."""
        for path in (*self._folder.glob(f"{_PARTIAL}*"), *self._folder.glob(f"{_BROKEN}*")):
            try:
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND_S:
                    shutil.rmtree(path, ignore_errors=True)
            except OSError:
                continue


def _read(place: Path, key: str) -> Entry | None:
    """Gives an entry that is whole, or `None`."""
    try:
        about = json.loads((place / _ENTRY).read_text(encoding="utf-8"))
        files, facts, seconds = about["files"], about["facts"], float(about["seconds"])
        if about["key"] != key or not isinstance(facts, dict):
            return None
        if any(_sha256(place / name) != digest for name, digest in files.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Entry(place, key, facts, seconds, found=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
