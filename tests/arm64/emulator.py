"""A Raspberry Pi in user mode: Debian's arm64 Python and the real aarch64 wheels under QEMU.

It proves wheels, imports, instruction sets and numbers; it says nothing about speed or memory.
Nothing is installed on the machine: packages come from the mirror that its own apt sources name,
through an apt state of our own, and are unpacked into `cache()`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
CONSTRAINTS = PROJECT / "constraints.txt"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The Debian release that has this Python, and with it the C library of Raspberry Pi OS.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
# QEMU 7.2, bookworm's, segfaults in both engines; trixie's is version 10 and statically linked.
QEMU_SUITE = "trixie"
WHEELS = ("numpy", "ai-edge-litert", "onnxruntime")
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28")


class MissingError(Exception):
    """What the emulator needs and this machine does not have."""


def cache() -> Path:
    """The folder of what is downloaded: `$TINSMITH_CACHE`, or `tinsmith/arm64` in the user's."""
    if named := os.environ.get("TINSMITH_CACHE"):
        return Path(named).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "tinsmith", "arm64")


def pinned_wheels() -> dict[str, str]:
    """Name and version of what is installed on the board, as `constraints.txt` pins them."""
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", CONSTRAINTS.read_text(), re.MULTILINE))
    return {name: pins[name] for name in WHEELS}


class Emulator:
    """One Python on an emulated board; the first use downloads what `cache()` then keeps.

    Args:
        python: `3.11` or `3.13`.

    Raises:
        MissingError: a tool, a mirror or the network is missing.
    """

    def __init__(self, python: str) -> None:
        suite = SUITES[python]
        names = (f"python{python}-minimal", f"libpython{python}-stdlib", "libstdc++6")
        self._python = python
        self._qemu = _keep(
            f"qemu-{QEMU_SUITE}",
            lambda folder: _unpack_debian(folder, QEMU_SUITE, _host_architecture(), ["qemu-user"]),
        )
        self._root = _keep(
            f"root-{suite}", lambda folder: _unpack_debian(folder, suite, "arm64", names)
        )
        wheels = [f"{name}=={version}" for name, version in pinned_wheels().items()]
        self._site = _keep(
            "-".join(["site", python, *wheels]),
            lambda folder: _install_wheels(folder, python, wheels),
        )

    def run(self, cpu: str, argv: Sequence[object], site: Path) -> subprocess.CompletedProcess[str]:
        """Runs Python as on a board; it cannot start `sys.executable` as a child.

        Args:
            cpu: `cortex-a72` (Pi 4) or `cortex-a76` (Pi 5), as QEMU calls them.
            argv: the words after `python`.
            site: a folder of packages to import besides the engines.
        """
        path = os.pathsep.join(map(str, (site, self._site)))
        return subprocess.run(
            [
                *(str(self._qemu / "usr/bin/qemu-aarch64"), "-cpu", cpu, "-L", str(self._root)),
                str(self._root / f"usr/bin/python{self._python}"),
                *map(str, argv),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            env={"PYTHONPATH": path},  # and nothing of this machine's settings
        )


def build_runtime(folder: Path) -> Path:
    """Builds the runtime's wheel, and unpacks it as pip does; gives the folder to import from."""
    pip = (sys.executable, "-m", "pip")
    wheels, site = folder / "wheels", folder / "site"
    _call([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, PROJECT / "runtime"])
    (wheel,) = wheels.iterdir()
    _call([*pip, "install", "--quiet", "--no-deps", "--no-compile", "--target", site, wheel])
    return site


def _keep(name: str, make: Callable[[Path], None]) -> Path:
    """Gives the cached folder of that name, made whole or not at all."""
    path = cache() / name
    if not path.is_dir():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as beside:
                fresh = Path(beside, name)
                fresh.mkdir()
                make(fresh)
                fresh.rename(path)
        except OSError as error:
            raise MissingError(f"a cache that can be written: {error}") from error
    return path


def _install_wheels(folder: Path, python: str, wheels: Sequence[str]) -> None:
    """The engines need nothing but numpy, so their other dependencies are left out."""
    platforms = [f"--platform={platform}_aarch64" for platform in PLATFORMS]
    _call(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *platforms),
            *("--only-binary=:all:", "--no-deps", "--no-compile", "--implementation", "cp"),
            *("--python-version", python, *wheels),
        ]
    )


def _unpack_debian(folder: Path, suite: str, architecture: str, names: Sequence[str]) -> None:
    """Unpacks packages and all that they depend on, none of it taken from this machine."""
    source = f"deb [arch={architecture} signed-by={KEYRING}] {_mirror()} {suite} main\n"
    if not KEYRING.exists():
        raise MissingError(f"{KEYRING}: apt-get install debian-archive-keyring")
    with tempfile.TemporaryDirectory() as state:
        for name in ("lists/partial", "archives/partial"):
            Path(state, name).mkdir(parents=True)
        Path(state, "sources.list").write_text(source)
        Path(state, "status").touch()
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",  # apt's own user cannot read a folder of ours
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::Cache": state,
            "Dir::Cache::archives": f"{state}/archives",
            "Dir::Etc::sourcelist": f"{state}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": state,
            "Dir::State::lists": f"{state}/lists",
            "Dir::State::status": f"{state}/status",
        }
        _apt(settings, "--error-on=any", "update")
        _apt(settings, "--yes", "--no-install-recommends", "--download-only", "install", *names)
        # Since trixie the loader lies in usr/lib alone, and programs name it in lib.
        (folder / "usr" / "lib").mkdir(parents=True)
        (folder / "lib").symlink_to("usr/lib")
        for package in Path(state, "archives").glob("*.deb"):
            _call(["dpkg-deb", "--extract", package, folder])


def _mirror() -> str:
    """The address of the Debian mirror that this machine's apt uses."""
    found = _apt({}, "--print-uris", "update")
    suites = "|".join(SUITES.values())
    match = re.search(rf"'(\S+)/dists/(?:{suites})/InRelease'", found)
    if not match:
        raise MissingError(f"an apt source for Debian {' or '.join(SUITES.values())}")
    return match[1]


def _host_architecture() -> str:
    return _call(["dpkg", "--print-architecture"]).strip()


def _apt(settings: Mapping[str, str], *words: str) -> str:
    options = [f"--option={name}={value}" for name, value in settings.items()]
    return _call(["apt-get", "--quiet", *options, *words])


def _call(line: Sequence[object]) -> str:
    """Runs a tool; gives what it says."""
    words = [str(word) for word in line]
    if shutil.which(words[0]) is None:
        raise MissingError(f"{words[0]}: the emulator is made on Debian, with apt and dpkg")
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise MissingError(f"what {words[0]} was to bring; it says:\n{end}")
    return done.stdout
