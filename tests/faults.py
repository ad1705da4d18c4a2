"""Installing and signing while every call of the system fails or kills, one after the other.

    python tests/faults.py [--errors EIO ...] [--only TASK]

Prints how many faults there were, how many ended in a raw `OSError`, and how many left a bad state.
What is called is Python's `os`; `faults_strace.py` goes by the system calls themselves, and
`faults_churn.py` kills real processes while others load.

A state is good if it is the old or the new one, the old one if an error was told, if it loads, and
if the next install works and leaves nothing over.
"""

import argparse
import builtins
import contextlib
import errno
import fcntl
import io
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from tinsmith_runtime import TinsmithError, read_bundle, write_bundle
from tinsmith_runtime.bundle import MANIFEST, read_installed
from tinsmith_runtime.bundle.installation import read_installation
from tinsmith_runtime.bundle.signature import generate_key, sign_bundle
from tinsmith_runtime.deploy.install import install, rollback
from tinsmith_runtime.deploy.trial import boot, confirm

TINY = Path(__file__).parent / "data" / "tiny.tin"
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EINTR)
CALLS = (
    *("open", "close", "fsync", "replace", "rename", "unlink", "mkdir", "stat", "lstat", "fstat"),
    *("listdir", "scandir", "readlink", "fchmod", "fchown", "urandom"),
)
STREAM_CALLS = ("read", "write", "flush", "seek")


class Killed(BaseException):
    """Stands for the end of the process: from then on, nothing reaches the disk."""


class Fault:
    """Counts the calls of the system, and has the one of a number fail, or all from it on."""

    def __init__(self, number: int, error: int | None) -> None:
        self.left, self.error = number, error
        self.struck = ""

    def strike(self, name: str) -> None:
        self.left -= 1
        if self.left >= 0 or (self.struck and self.error is not None):
            return
        self.struck = self.struck or name
        if self.error is None:
            raise Killed
        raise OSError(self.error, os.strerror(self.error))

    def call(self, name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any, **options: Any) -> Any:
            if name == "close":  # a descriptor is closed even where this fails
                really(*words)
            self.strike(name)
            result = None if name == "close" else really(*words, **options)
            return self.stream(result) if isinstance(result, io.IOBase) else result

        return run

    def stream(self, stream: Any) -> Any:
        class Stream:
            def __getattr__(_: Any, name: str) -> Any:  # noqa: N805
                found = getattr(stream, name)
                return self.call(name, found) if name in STREAM_CALLS else found

            def __enter__(self) -> Any:
                return self

            def __exit__(_: Any, *error: object) -> None:  # noqa: N805
                stream.close()
                self.strike("close")

        return Stream()

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        places = [
            *((os, name) for name in (*CALLS, "fdopen")),
            (builtins, "open"),
            (fcntl, "flock"),
        ]
        with contextlib.ExitStack() as stack:
            for module, name in places:
                wrapped = self.call(name, getattr(module, name))
                stack.enter_context(mock.patch.object(module, name, wrapped))
            yield


@dataclass(frozen=True)
class Task:
    """Something that changes what is on the disk.

    Attributes:
        prepare: makes what is there before, in an empty folder.
        act: changes it.
        look: what is there, as something to compare; raises what a bad state raises.
        after: checks that the next one of its kind works, and leaves nothing over.
        tidy: whether nothing may be left over where an error was told.
    """

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    look: Callable[[Path], object]
    after: Callable[[Path], object]
    tidy: bool = False


def make_bundles(folder: Path, count: int) -> list[Path]:
    """Bundles that differ in the seed that they were trained with, and in their release."""
    tiny = read_bundle(TINY)
    files = {name: data for name, data in tiny.files.items() if name != MANIFEST}
    paths = []
    for seed in range(count):
        training = replace(tiny.manifest.training, seed=seed)
        paths.append(folder / f"{seed}.tin")
        write_bundle(paths[-1], replace(tiny.manifest, training=training, release=seed), files)
    return paths


def look_at(place: Path) -> Any:
    """The record of an installed folder, and the seed of the bundle that loads."""
    home = place / "home"
    record = read_installation(home)
    if record is None:
        return None
    if record.previous:
        read_installed(home, record.previous)
    return record, read_bundle(home).manifest.training.seed


def make_things(folder: Path) -> None:
    """What the tasks take: five bundles and a key."""
    make_bundles(folder, 5)
    generate_key(folder / "ours")


def tasks(folder: Path) -> dict[str, Task]:
    """Everything that writes, by name; `folder` holds what `make_things` made."""
    bundles = [folder / f"{seed}.tin" for seed in range(5)]

    def installed(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
        def prepare(place: Path) -> None:
            for step in steps:
                step(place / "home")

        return prepare

    def put(number: int, **options: Any) -> Callable[[Path], object]:
        return lambda home: install(bundles[number], home, **options)

    def next_install(place: Path) -> None:
        home = place / "home"
        before = read_installation(home)
        install(bundles[4], home)
        record = read_installation(home)
        assert record, "no record"
        kept = (before.previous if before.trial else before.current) if before else None
        assert record.previous == kept, "the next install keeps another bundle"
        names = {f"{name}.tin" for name in (record.current, record.previous) if name}
        found = {path.name for path in home.iterdir()}
        assert found == {"installed.json", ".tinsmith-lock", *names}, f"left over: {found}"

    def of_folder(act: Callable[[Path], object], *steps: Callable[[Path], object]) -> Task:
        return Task(installed(*steps), lambda place: act(place / "home"), look_at, next_install)

    def of_file(act: Callable[[Path], object]) -> Task:
        def look(place: Path) -> bytes:
            read_bundle(place / "x.tin")
            return (place / "x.tin").read_bytes()

        def copy(place: Path) -> object:
            return shutil.copy(bundles[0], place / "x.tin")

        return Task(copy, lambda place: act(place / "x.tin"), look, act_again(act), tidy=True)

    def act_again(act: Callable[[Path], object]) -> Callable[[Path], object]:
        return lambda place: act(place / "x.tin")

    def names(place: Path) -> list[str]:
        return sorted(path.name for path in place.iterdir())

    def anew(place: Path) -> None:
        for path in place.iterdir():
            path.unlink()
        generate_key(place / "k")

    other = read_bundle(bundles[1])
    files = {name: data for name, data in other.files.items() if name != MANIFEST}
    keys = Task(
        lambda place: None,
        lambda place: generate_key(place / "k"),
        names,
        anew,
        tidy=True,
    )
    return {
        "first install": of_folder(put(0)),
        "first install on trial": of_folder(put(0, confirm=True)),
        "install": of_folder(put(2), put(0), put(1)),
        "install of the current one": of_folder(put(1), put(0), put(1)),
        "install on trial": of_folder(put(2, confirm=True), put(0), put(1)),
        "install during a trial": of_folder(put(3), put(0), put(1, confirm=True), boot),
        "rollback": of_folder(rollback, put(0), put(1)),
        "rollback during a trial": of_folder(rollback, put(0), put(1, confirm=True)),
        "boot without a trial": of_folder(boot, put(0), put(1)),
        "first boot": of_folder(boot, put(0), put(1, confirm=True)),
        "second boot": of_folder(boot, put(0), put(1, confirm=True), boot),
        "confirm": of_folder(confirm, put(0), put(1, confirm=True), boot),
        "sign": of_file(lambda path: sign_bundle(path, folder / "ours.key")),
        "write": of_file(lambda path: write_bundle(path, other.manifest, files)),
        "keygen": keys,
    }


def outcome(act: Callable[[], object]) -> str:
    """How an action ended: `done`, `warned`, `told`, `killed`, or what it raised."""
    try:
        done = act()
    except TinsmithError:
        return "told"
    except Killed:
        return "killed"
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"
    return "warned" if getattr(done, "warnings", ()) else "done"


def judge(task: Task, place: Path, ended: str, old: object, new: object) -> str:
    """What is wrong with the state that an action left; empty if nothing."""
    try:
        found = task.look(place)
        allowed = {"told": [old], "done": [new]}.get(ended, [old, new])
        # A pair of keys is two files: one that was killed in between left the first.
        if found not in allowed and not (ended == "killed" and isinstance(found, list)):
            return f"{ended}, from {old} to {new}, but found {found}"
        left = [path for path in place.iterdir() if path.name.startswith(".tinsmith-")]
        if task.tidy and ended != "killed" and left:
            return f"{ended}, and leaves {left[0].name}"
        task.after(place)
    except Exception as error:
        return f"{ended}, then {type(error).__name__}: {error}"
    return ""


@contextlib.contextmanager
def without_engines() -> Iterator[None]:
    """Files are what is tested here: engines would take most of the time."""
    with mock.patch("tinsmith_runtime.deploy.install._require_selftest"):
        yield


def states(task: Task, work: Path) -> tuple[Path, object, object]:
    """A place made ready, and what there is before and after an action in which nothing fails."""
    ready, place = (Path(tempfile.mkdtemp(dir=work)) for _ in range(2))
    task.prepare(ready)
    shutil.copytree(ready, place, dirs_exist_ok=True)
    task.act(place)
    return ready, task.look(ready), task.look(place)


def run_task(task: Task, work: Path, errors: tuple[int | None, ...]) -> tuple[int, list[str]]:
    """Has every call of a task fail with each error (`None` kills).

    Returns:
        How many faults there were, and what was wrong.
    """
    ready, old, new = states(task, work)
    count, wrong = 0, []
    for error in errors:
        for number in itertools.count():
            place = Path(tempfile.mkdtemp(dir=work))
            shutil.copytree(ready, place, dirs_exist_ok=True)
            fault = Fault(number, error)
            with fault.armed():
                ended = outcome(partial(task.act, place))
            if not fault.struck:
                break
            count += 1
            how = "killed" if error is None else errno.errorcode[error]
            what = f"{how} at {number}, {fault.struck}"
            if ended.startswith("raw"):
                wrong.append(f"{what}: {ended}")
            if bad := judge(task, place, ended, old, new):
                wrong.append(f"{what}: bad state: {bad}")
            shutil.rmtree(place)
        assert number > 0, "no calls are counted"
    return count, wrong


def report(run: Callable[[str, Task, Path], tuple[int, list[str]]], only: str | None) -> bool:
    """Runs all tasks, prints what was wrong and the counts, and says whether anything was."""
    total, everything = 0, []
    with tempfile.TemporaryDirectory() as folder, without_engines():
        work = Path(folder)
        make_things(work)
        for name, task in tasks(work).items():
            if only in (None, name):
                inner = Path(tempfile.mkdtemp(dir=work))
                count, wrong = run(name, task, inner)
                print(f"{name}: {count} faults, {len(wrong)} wrong", flush=True)
                print("".join(f"  {line}\n" for line in wrong), end="", flush=True)
                total += count
                everything += wrong
    raw = sum(": raw " in line for line in everything)
    print(f"{total} faults: {raw} raw errors, {len(everything) - raw} bad states")
    return bool(everything)


def parse_errors(parser: argparse.ArgumentParser) -> tuple[tuple[int | None, ...], str | None]:
    """What to have happen at each call (`None` kills), and the one task to do so in, if any."""
    names = [errno.errorcode[error] for error in ERRORS]
    parser.add_argument("--errors", nargs="*", default=names, help="besides being killed")
    parser.add_argument("--only", metavar="TASK", help="one task alone")
    arguments = parser.parse_args()
    return (*(getattr(errno, name) for name in arguments.errors), None), arguments.only


def main() -> int:
    errors, only = parse_errors(argparse.ArgumentParser(description="when a call fails or kills"))
    with mock.patch("os.fsync"):  # nothing is unplugged here, and a real disk takes its time
        return report(lambda _, task, work: run_task(task, work, errors), only)


if __name__ == "__main__":
    sys.exit(main())
