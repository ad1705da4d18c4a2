"""The commands of raspberry-pi.md, release.md and camera-and-folder.md, typed on emulated boards.

A shell of this machine runs them as they stand: `tinsmith` is the board's, and `pip install` gets
what pip would get there. Lines marked ¹ are left out: no emulated board has apt or systemd.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arm64.emulator import (
    CONSTRAINTS,
    PI_4,
    PI_5,
    PI_5_TRIXIE,
    PI_32_BIT,
    PROJECT,
    Board,
    Emulator,
    pip_options,
)
from arm64.wheels import WHEELS
from narrow import array
from pi_guide import BLOCKS, FILES, GUIDE
from PIL import Image

from tinsmith_runtime import read_bundle

TINY = PROJECT / "tests" / "data" / "tiny.tin"
PLANNED = TINY.with_name("planned.tin")
# How far a size in the guide may be from what is measured.
TOLERANCE = 0.03
# Three pictures, then somebody presses Ctrl-C.
PICAMERA2 = """
from PIL import Image
class Picamera2:
    left = 3
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def create_video_configuration(self, main): return main
    def configure(self, main): self.size, self.mode = main["size"], main["format"]
    def start(self): self.started = True
    def capture_image(self):
        assert self.started and self.mode == "RGB888"
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return Image.new("RGB", self.size, (10, 200, 30))
"""


def block(words: str) -> str:
    """The shell block of the guide that holds these words, without what is marked ¹."""
    (found,) = [text for kind, name, text in BLOCKS if kind == "sh" and not name and words in text]
    return "".join(line for line in found.splitlines(True) if "# ¹" not in line)


class Pi:
    """A board with nothing but what Debian has, on which somebody types."""

    def __init__(self, board: Board, wheel: Path, folder: Path) -> None:
        self.home, self.site = folder / "home", folder / "site"
        self.home.mkdir(parents=True)
        self.emulator = Emulator(board, folder, [self.site])
        shutil.copy(wheel, self.home)
        shutil.copy(TINY, self.home / "digits.tin")
        self._bin = folder / "bin"
        self._bin.mkdir()
        pip = shlex.join([sys.executable, "-m", "pip"])
        options = shlex.join(["--quiet", *pip_options(board, self.site)])
        self._shim("pip", f'shift; {pip} install {options} "$@"')
        self._shim("tinsmith", f'{self.emulator.python} -m tinsmith_runtime "$@"')
        # Debian's comes with ensurepip, in a package of its own; this machine's may have none.
        self._shim("python3", f'{shlex.quote(sys.executable)} "$@" --without-pip')

    def _shim(self, name: str, line: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self._bin / name).chmod(0o755)

    def place(self, text: str) -> str:
        """Text with the guide's folders moved to where a test may write."""
        return text.replace("/opt/models", f"{self.home}/opt").replace("/srv", f"{self.home}/srv")

    def types(self, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Types lines of the guide into a shell, which stops at the first that fails."""
        return subprocess.run(
            ["/bin/sh", "-euc", self.place(text)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.home,
            env={
                # What tells pip where packages come from.
                **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
                "PATH": f"{self._bin}:/usr/bin:/bin",
                "HOME": str(self.home),
                **environment,
            },
        )

    def installs(self, text: str, *free: str) -> None:
        """Types an install; all versions but the `free` ones are those that the project pins."""
        pins = CONSTRAINTS.read_text().splitlines()
        kept = [pin for pin in pins if pin.partition("==")[0] not in free]
        (self.home / "pins.txt").write_text("\n".join(kept))
        done = self.types(text, PIP_CONSTRAINT=str(self.home / "pins.txt"))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(": passed") == done.stdout.count("golden vectors")

    def megabytes(self, *names: str) -> float:
        """How much of what is installed lies in these folders; without names, all of it."""
        folders = [self.site / name for name in names] or [self.site]
        files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files) / 1e6


@pytest.fixture(scope="module")
def make(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Board], Pi]:
    return lambda board: Pi(board, wheel, tmp_path_factory.mktemp("pi"))


@pytest.fixture(scope="module")
def usual(make: Callable[[Board], Pi]) -> Pi:
    """A Pi 4 on which the guide's install with LiteRT was typed."""
    pi = make(PI_4)
    pi.installs(block("[litert,images]"))
    return pi


def row(name: str) -> list[float]:
    """The numbers of a row of the guide's table of sizes; 0 where there is a dash."""
    (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"| {name} |")]
    return [0.0 if cell.strip() == "-" else float(cell) for cell in line.split("|")[2:-1]]


def check_sizes(name: str, pi: Pi, engine: str, say: Callable[[str], None]) -> None:
    parts = [pi.megabytes(), pi.megabytes(engine), pi.megabytes("numpy", "numpy.libs")]
    found = [*parts, parts[0] - parts[1] - parts[2]]
    say(f"installed, {name}: " + ", ".join(f"{size:.1f}" for size in found) + " MB")
    for size, told in zip(found, row(name), strict=True):
        assert abs(size - told) <= max(TOLERANCE * size, 1), (found, row(name))


def test_wheel_as_the_guide_builds_it(wheel: Path) -> None:
    assert "python -m pip wheel --no-deps --wheel-dir dist ./runtime" in block("pip wheel")
    assert wheel.name in block("[litert,images]")
    assert wheel.stat().st_size <= 170_000


def test_usual(usual: Pi, say: Callable[[str], None]) -> None:
    check_sizes("`[litert,images]`", usual, "ai_edge_litert", say)


def test_onnx(make: Callable[[Board], Pi], say: Callable[[str], None]) -> None:
    pi = make(PI_5)
    pi.installs(block("[litert,images]").replace("[litert,images]", "[onnx,images]"))
    check_sizes("`[onnx,images]`", pi, "onnxruntime", say)


def test_trixie(make: Callable[[Board], Pi]) -> None:
    make(PI_5_TRIXIE).installs(block("[litert,images]"))


def test_32_bit(make: Callable[[Board], Pi]) -> None:
    make(PI_32_BIT).installs(block("tflite-runtime=="))


@pytest.mark.parametrize(
    ("board", "machine"), [(PI_4, "aarch64"), (PI_5_TRIXIE, "aarch64"), (PI_32_BIT, "armv7l")]
)
def test_native(
    board: Board,
    machine: str,
    make: Callable[[Board], Pi],
    wheels: dict[str, Path],
    say: Callable[[str], None],
) -> None:
    pi = with_plan(make(board), wheels[machine])
    before = "pip install --no-deps" if machine == "armv7l" else "[images]'"
    pi.installs(block(f"{before} ./tinsmith_native-0.1.0-py3-none-{WHEELS[machine]}.whl"))
    require_native(pi)
    if board == PI_4:
        check_sizes("`native`, `[images]`", pi, "tinsmith_native", say)


def test_slim_native(
    make: Callable[[Board], Pi], wheels: dict[str, Path], say: Callable[[str], None]
) -> None:
    pi = with_plan(make(PI_4), wheels["aarch64"])
    pi.installs(block(f"pip install --no-deps ./{wheels['aarch64'].name}"))
    require_native(pi)
    check_sizes("slim `native`, on Debian's numpy", pi, "tinsmith_native", say)


def with_plan(pi: Pi, wheel: Path) -> Pi:
    """A board with a bundle that holds a plan, and the engine's wheel beside it."""
    shutil.copy(wheel, pi.home)
    shutil.copy(PLANNED, pi.home / "digits.tin")
    return pi


def require_native(pi: Pi) -> None:
    """Asserts that the native engine gives the golden outputs."""
    said = pi.types("tinsmith selftest digits.tin").stdout
    assert said.startswith("tinsmith native 0.1.0 on ")
    assert "32 of 32 golden vectors equal to the bit" in said


@pytest.mark.parametrize("numpy", ["pip's", "Debian's"])
def test_slim(numpy: str, make: Callable[[Board], Pi], say: Callable[[str], None]) -> None:
    pi = make(PI_4)
    words = "ai-edge-litert==1.2.0" + (" numpy\n" if numpy == "pip's" else "\n")
    pi.installs(block(words) + "tinsmith selftest digits.tin\n", "ai-edge-litert")
    assert pi.types("tinsmith selftest digits.tin").stdout.startswith("LiteRT 1.2.0 on ")
    name = "slim LiteRT" if numpy == "pip's" else "slim LiteRT, on Debian's numpy"
    check_sizes(name, pi, "ai_edge_litert", say)


def test_slim_on_trixie(make: Callable[[Board], Pi], say: Callable[[str], None]) -> None:
    pi = make(PI_5_TRIXIE)
    line = block("ai-edge-litert==1.2.0 numpy\n").replace("==1.2.0", "")
    pi.installs(line + "tinsmith selftest digits.tin\n")
    told = re.search(r"which makes slim (\d+) MB", GUIDE)
    assert told
    assert abs(pi.megabytes() - int(told[1])) <= TOLERANCE * int(told[1])


def test_model_camera_and_folder(usual: Pi) -> None:
    """The rest of the guide, in its order."""
    (usual.home / "opt").mkdir()
    for _ in range(2):
        done = usual.types(block("tinsmith install digits.tin"))
        assert done.returncode == 0, done.stderr
    done = usual.types("tinsmith install --rollback /opt/models/digits")
    assert (done.returncode, "keeps no previous bundle to roll back to" in done.stderr) == (2, True)

    (code,) = [text for kind, _, text in BLOCKS if kind == "python"]
    (usual.home / "picamera2.py").write_text(PICAMERA2)
    done = usual.emulator.run("-c", usual.place(code), PYTHONPATH=str(usual.home))
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert all(re.fullmatch(r"(zero|one|two) \d+%", line) for line in lines)
    assert done.stderr.endswith("KeyboardInterrupt\n")

    (usual.home / "srv").mkdir()
    done = usual.types(block("mkdir -p /srv/tinsmith/inbox"))
    assert done.returncode == 0, done.stderr
    folder = usual.home / "srv" / "tinsmith"
    script = folder / "classify.sh"
    script.write_text(usual.place(FILES["classify.sh"]))
    pixels = read_bundle(TINY).golden().inputs
    for number in range(2):
        Image.fromarray(array(pixels)[number, ..., 0]).save(folder / "inbox" / f"{number}.png")
    done = usual.types("/bin/sh /srv/tinsmith/classify.sh")
    assert done.returncode == 0, done.stderr
    np.save(folder / "inbox" / "2.npy", pixels[2])
    (folder / "inbox" / "bad.png").write_bytes(b"no picture")
    done = usual.types("/bin/sh /srv/tinsmith/classify.sh")
    assert done.returncode == 1
    assert "work/bad.png: expected a PNG or JPEG" in done.stderr
    found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [entry["image"] for entry in found] == ["work/0.png", "work/1.png", "work/2.npy"]
    left = {
        path.name: sorted(p.name for p in path.iterdir())
        for path in folder.iterdir()
        if path.is_dir()
    }
    assert left == {"inbox": [], "work": [], "done": ["0.png", "1.png", "2.npy", "bad.png"]}
