"""What is installed here, what works, what is missing, and the line that installs it.

Nothing heavy is imported: an engine is tried in a process of its own, where it may crash. A package
adds what it knows through the entry-point group `tinsmith.doctor`: a function without arguments
that gives `Finding`s.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import (
    PackageNotFoundError,
    entry_points,
    packages_distributions,
    requires,
    version,
)
from pathlib import Path

from tinsmith_runtime.backends import BackendSpec, known_backends
from tinsmith_runtime.cpu import read_cpu
from tinsmith_runtime.errors import printable

GROUP = "tinsmith.doctor"
OK, MISSING, BROKEN = "ok", "missing", "broken"

_DISTRIBUTIONS = ("tinsmith-runtime", "tinsmith-native", "tinsmith")
_MEMINFO = Path("/proc/meminfo")
_LIMIT_S = 60  # a Pi Zero imports an engine in ten
# What other programs are for, and what installs them on Debian and its kin.
_PROGRAMS = {
    "C compiler": (("cc", "gcc", "clang"), "builds tinsmith-native", "build-essential"),
    "ssh": (("ssh",), "for `tinsmith bench --host`", "openssh-client"),
}
# The name of a required package, and the extra that requires it.
_REQUIRED = re.compile(r"""([\w.-]+).*extra == ['"]([\w-]+)['"]""")
_TRY = """
import importlib, sys
from tinsmith_runtime.backends.diagnosis import explain
module, package, extra = sys.argv[1:]
try:
    importlib.import_module(module)
except Exception as error:
    print(" ".join(explain(package, extra, error).split()))
    sys.exit(1)
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what, in a word or two.
        status: `ok`; `missing`, where only what needs it does not work; or `broken`.
        text: what was found, in a line.
        cure: what to type; empty where nothing has to be done.
    """

    topic: str
    status: str
    text: str
    cure: str = ""


def doctor() -> tuple[Finding, ...]:
    """Looks at this installation and this machine; takes a second or two.

    Returns:
        What was found. Where none is `broken`, bundles run here.
    """
    return (
        *_distributions(),
        Finding("Python", OK, f"{platform.python_version()}, {sys.executable}"),
        Finding("CPU", OK, f"{read_cpu()}, {platform.machine()}, {os.cpu_count() or 1} cores"),
        *_memory(),
        *_engines(),
        *_extras(),
        *_programs(),
        *_registered(),
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _distributions() -> Iterator[Finding]:
    runtime = version("tinsmith-runtime")
    for name in _DISTRIBUTIONS:
        found = _version(name)
        if name == "tinsmith" and found not in (None, runtime):
            cure = f"pip install '{name}=={runtime}'"
            yield Finding(name, BROKEN, f"{found}: expected {runtime}, the runtime's", cure)
        elif found is not None:
            yield Finding(name, OK, found)
        elif name == "tinsmith":
            text = "not installed: needed to train, export and measure, not on a board"
            yield Finding(name, MISSING, text, f"pip install '{name}[compile]'")


def _memory() -> Iterator[Finding]:
    """What Linux could give to a program now; nothing where the system does not tell."""
    try:
        text = _MEMINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    found = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", text, re.MULTILINE))
    if len(found) == 2:
        free, total = (int(found[key]) / 1024 for key in ("MemAvailable", "MemTotal"))
        yield Finding("memory", OK, f"{free:,.0f} MiB available of {total:,.0f}")


def _engines() -> Iterator[Finding]:
    owners = packages_distributions()
    works = False
    for spec in known_backends():
        topic, cure = f"engine {spec.name}", f"pip install '{spec.extra}'"
        if spec.package is None:
            yield Finding(topic, MISSING, f"{spec.title} is not installed", cure)
            continue
        (owner, *_) = owners.get(spec.package, [spec.package])
        name = f"{owner} {_version(owner) or ''}".strip()
        wrong = _trial(spec, spec.package)
        works = works or not wrong
        if wrong:
            yield Finding(topic, BROKEN, f"{name}: {wrong}", f"{cure} --force-reinstall")
        else:
            yield Finding(topic, OK, name)
    if not works:
        cure = f"pip install '{known_backends()[0].extra}'"
        yield Finding("engines", BROKEN, "none works here: no bundle runs", cure)


def _trial(spec: BackendSpec, package: str) -> str:
    """What is wrong with an engine; empty if its package imports."""
    line = [sys.executable, "-c", _TRY, spec.opens.partition(":")[0], package, spec.extra]
    try:
        done = subprocess.run(line, capture_output=True, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"its import takes more than {_LIMIT_S} s"
    except OSError as error:
        return f"it cannot be tried: {error.strerror or error}"
    if done.returncode < 0:
        return f"its import crashes, signal {-done.returncode}: it may be for another CPU"
    told = done.stdout.decode(errors="replace").strip().splitlines()
    return printable(told[-1] if told else "it does not import") if done.returncode else ""


def _extras() -> Iterator[Finding]:
    """Of each extra of what is installed which packages are not; engines are told already."""
    engines = {spec.extra for spec in known_backends()}
    for distribution in _DISTRIBUTIONS:
        if _version(distribution) is None:
            continue
        wanted: dict[str, list[str]] = {}
        for line in requires(distribution) or ():
            if found := _REQUIRED.match(line):
                wanted.setdefault(f"{distribution}[{found[2]}]", []).append(found[1])
        for extra, packages in wanted.items():
            missing = [package for package in packages if _version(package) is None]
            if extra in engines or extra.endswith("[dev]"):
                continue
            if missing:
                text = f"not installed: {', '.join(missing)}"
                yield Finding(extra, MISSING, text, f"pip install '{extra}'")
            else:
                yield Finding(extra, OK, ", ".join(f"{p} {_version(p)}" for p in packages))


def _programs() -> Iterator[Finding]:
    for topic, (names, purpose, package) in _PROGRAMS.items():
        found = next(filter(None, map(shutil.which, names)), None)
        if found:
            yield Finding(topic, OK, found)
        else:
            yield Finding(topic, MISSING, f"none: {purpose}", f"apt install {package}")


def _registered() -> Iterator[Finding]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            yield from point.load()()
        except Exception as error:  # of another distribution: whatever it likes
            yield Finding(point.name, BROKEN, printable(f"{point.value}: {error!r}"))
