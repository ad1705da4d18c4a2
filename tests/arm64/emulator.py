"""A Raspberry Pi in user mode: Debian's Arm Python and the real wheels under QEMU.

It proves wheels, imports, instruction sets and numbers; it says nothing about speed or memory.
Nothing is installed on the machine: packages come from the mirror that its own apt sources name,
through an apt state of our own, and are unpacked into `cache()`.
"""

import compileall
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from _pytest.outcomes import Failed

PROJECT = Path(__file__).parents[2]
CONSTRAINTS = PROJECT / "constraints.txt"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The Debian release that has this Python, and with it the C library of Raspberry Pi OS.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
# QEMU 7.2, bookworm's, segfaults in both engines; trixie's is version 10 and statically linked.
QEMU_SUITE = "trixie"
# The last LiteRT with a wheel for a 32-bit Pi; numpy comes from Debian there.
TFLITE_RUNTIME = "tflite-runtime==2.14.0"
PLATFORMS = {
    "arm64": [f"manylinux{v}_aarch64" for v in ("2014", "_2_17", "_2_27", "_2_28")],
    "armhf": ["manylinux2014_armv7l", "manylinux_2_34_armv7l"],
}
# What an engine imports; what else it declares is not needed.
ENGINES = ("numpy", "ai-edge-litert", "onnxruntime")
# What the runtime's own tests import, with what that needs.
TOOLS = ("pytest", "iniconfig", "packaging", "pluggy", "pygments", "sortedcontainers")
TOOLS_ARM64 = ("hypothesis", "pillow", "cryptography", "cffi", "pycparser")
# A hypothesis without compiled parts; Pillow and cryptography are Debian's there.
TOOLS_ARMHF = ("hypothesis==6.112.0",)


class MissingError(Failed):
    """What the emulator needs and this machine does not have: a test that fails in one line."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the emulated Pi cannot be made; missing is {what}", pytrace=False)


@dataclass(frozen=True)
class Board:
    """What is emulated: `cpu` as QEMU calls it, `architecture` as Debian does."""

    cpu: str
    python: str
    architecture: str = "arm64"

    def __str__(self) -> str:
        return f"{self.cpu}, {self.architecture}, Python {self.python}"


PI_4 = Board("cortex-a72", "3.11")
PI_5 = Board("cortex-a76", "3.11")
PI_5_TRIXIE = Board("cortex-a76", "3.13")
PI_32_BIT = Board("cortex-a7", "3.11", "armhf")
BOARDS = [PI_4, PI_5, PI_5_TRIXIE, PI_32_BIT]
_PIP_INSTALL = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile")


def cache() -> Path:
    """The folder of what is downloaded: `$TINSMITH_CACHE`, or `tinsmith/arm64` in the user's."""
    if named := os.environ.get("TINSMITH_CACHE"):
        return Path(named).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "tinsmith", "arm64")


def pinned(*names: str) -> list[str]:
    """Each name with the version that `constraints.txt` pins."""
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", CONSTRAINTS.read_text().lower(), re.MULTILINE))
    return [f"{name}=={pins[name]}" for name in names]


class Emulator:
    """A board and its Python; the first use downloads what `cache()` then keeps.

    Args:
        board: which one.
        folder: where the board's `python` is put.
        sites: folders of packages to import, besides those that Debian has for this board: numpy
            and Pillow on bookworm, cryptography on 32 bits.

    Attributes:
        python: what starts Python on the board. It is a script, so that Python can start itself.

    Raises:
        MissingError: a tool, a mirror or the network is missing.
    """

    def __init__(self, board: Board, folder: Path, sites: Sequence[Path]) -> None:
        names = [f"python{board.python}-minimal", f"libpython{board.python}-stdlib", "libstdc++6"]
        if board.python == "3.11":
            names += ["python3-numpy", "python3-pil"]
        if board.architecture == "armhf":
            names += ["python3-cryptography"]
        root = _keep(
            f"root-{SUITES[board.python]}-{board.architecture}-{_digest(names)}",
            lambda path: _make_root(path, board, names),
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.python = folder.absolute() / "python"
        self._home = folder.absolute()
        program = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}[board.architecture]
        self.python.write_text(
            "#!/bin/sh\n"
            f"export PYTHONHOME={root}/usr\n"
            f'export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{os.pathsep.join(map(str, sites))}"\n'
            f"exec {qemu(program)} -cpu {board.cpu} -L {root} "
            f'-0 "$0" {root}/usr/bin/python{board.python} "$@"\n'
        )
        self.python.chmod(0o755)

    def run(
        self, *words: object, timeout_s: int = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs Python on the board, with nothing of this machine's settings.

        Args:
            words: the words after `python`.
            timeout_s: when to give up.
            environment: more variables.
        """
        return subprocess.run(
            [str(self.python), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self._home), **environment},
        )


def qemu(program: str) -> Path:
    """The path of one of QEMU's user mode programs, `qemu-aarch64` for example."""
    folder = _keep(
        f"qemu-{QEMU_SUITE}",
        lambda path: _unpack_debian(path, QEMU_SUITE, _host_architecture(), ["qemu-user"]),
    )
    return folder / "usr" / "bin" / program


def build_runtime(folder: Path) -> Path:
    """Builds the runtime's wheel; gives its path."""
    pip = (sys.executable, "-m", "pip")
    _call([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, PROJECT / "runtime"])
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack_runtime(wheel: Path, folder: Path) -> Path:
    """Unpacks a wheel as pip does; gives the folder to import from."""
    _call([*_PIP_INSTALL, "--target", folder, wheel])
    return folder


def unpack_native(wheel: Path, platform: str, folder: Path) -> Path:
    """Unpacks a wheel of tinsmith-native for another machine; gives the folder to import from."""
    options = ["--only-binary=:all:", f"--platform={platform}", "--target", folder]
    _call([*_PIP_INSTALL, *options, wheel])
    return folder


def install_engines(board: Board) -> Path:
    """The engines of a board, and what tests the runtime there; gives the folder to import from."""
    wheels = [TFLITE_RUNTIME, *pinned(*TOOLS, "attrs"), *TOOLS_ARMHF]
    if board.architecture == "arm64":
        wheels = pinned(*ENGINES, *TOOLS, *TOOLS_ARM64)

    def make(folder: Path) -> None:
        # `make` constrains pip to this machine's versions; a board may need another.
        _call([*_PIP_INSTALL, *pip_options(board, folder), *wheels], PIP_CONSTRAINT="")
        _compile(folder, board)

    return _keep(f"site-{board.architecture}-{board.python}-{_digest(wheels)}", make)


def pip_options(board: Board, folder: Path) -> list[str]:
    """What has this machine's `pip install` install into a folder what it would on the board."""
    platforms = [f"--platform={platform}" for platform in PLATFORMS[board.architecture]]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={board.python}"]
    return [f"--target={folder}", *options, *platforms]


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]


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


def _make_root(folder: Path, board: Board, names: Sequence[str]) -> None:
    _unpack_debian(folder, SUITES[board.python], board.architecture, names)
    # The links that Debian's alternatives would make.
    for library in folder.glob("usr/lib/*/*/lib*.so.3"):
        if library.parent.name in ("blas", "lapack"):
            (library.parents[1] / library.name).symlink_to(f"{library.parent.name}/{library.name}")
    _compile(folder / "usr" / "lib", board)


def _compile(folder: Path, board: Board) -> None:
    """Spares the board, which takes its time, to compile what it imports."""
    if board.python == f"{sys.version_info.major}.{sys.version_info.minor}":
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(folder, quiet=2, workers=0, invalidation_mode=mode)


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


def _call(line: Sequence[object], **environment: str) -> str:
    """Runs a tool, with more variables; gives what it says."""
    words = [str(word) for word in line]
    if shutil.which(words[0]) is None:
        raise MissingError(f"{words[0]}: the emulator is made on Debian, with apt and dpkg")
    variables = {**os.environ, **environment}
    done = subprocess.run(words, capture_output=True, text=True, env=variables)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise MissingError(f"what {words[0]} was to bring; it says:\n{end}")
    return done.stdout
