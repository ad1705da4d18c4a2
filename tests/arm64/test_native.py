"""tinsmith-native's wheels on emulated Raspberry Pis, and programs in C, down to the first Pi.

Every machine gives the interpreter's codes: for a plan of each operator, for random products, and
for a bundle with its golden vectors.
"""

import json
import os
import runpy
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from arm64.emulator import (
    PI_4,
    PI_5,
    PI_5_TRIXIE,
    PI_32_BIT,
    Board,
    Emulator,
    install_engines,
    qemu,
    unpack_native,
    unpack_runtime,
)
from arm64.plans import DIGITS, SAMPLES, Vectors
from arm64.wheels import NATIVE, WHEELS, zig
from narrow import array

from tinsmith_runtime import read_bundle

PI_3 = Board("cortex-a53", "3.11")
CHECK = Path(__file__).with_name("check_native.py")
CODES = Path(__file__).with_name("codes.c")
DIGIT = NATIVE / "example" / "digit.c"
INCLUDE = f"-I{NATIVE / 'include'}"
NEON = ["product (neon convolution)", "product (neon depthwise)"]
DOT = ["product (neon depthwise)", "product (neondot convolution)"]
PORTABLE = ["product (portable)"]


@dataclass(frozen=True)
class Run:
    """A wheel on a board, the instruction set that is asked for, and the kernels that answer."""

    board: Board
    wheel: str
    isa: str
    kernels: list[str]

    def __str__(self) -> str:
        return f"{self.board.cpu}, {self.wheel}, Python {self.board.python}, {self.isa or 'best'}"


RUNS = [
    Run(PI_3, "aarch64", "", NEON),
    Run(PI_4, "aarch64", "", NEON),
    Run(PI_4, "aarch64", "portable", PORTABLE),
    Run(PI_5, "aarch64", "", DOT),
    Run(PI_5_TRIXIE, "aarch64", "", DOT),
    Run(PI_32_BIT, "armv7l", "", NEON),
    # What a Pi 1 runs, as far as that CPU's Python goes: on the least that has one.
    Run(PI_32_BIT, "armv6l", "portable", PORTABLE),
]


@pytest.fixture(scope="module")
def boards(
    wheel: Path, wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Board, str], Emulator]:
    """A board with the runtime and a wheel of tinsmith-native."""
    folder = tmp_path_factory.mktemp("native")
    runtime = unpack_runtime(wheel, folder / "runtime")
    made: dict[tuple[Board, str], Emulator] = {}

    def board(which: Board, machine: str) -> Emulator:
        if (which, machine) not in made:
            place = folder / str(len(made))
            site = unpack_native(wheels[machine], WHEELS[machine], place / "site")
            made[which, machine] = Emulator(which, place, [site, runtime, install_engines(which)])
        return made[which, machine]

    return board


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_codes(
    run: Run, boards: Callable[[Board, str], Emulator], plans: Path, say: Callable[[str], None]
) -> None:
    emulator = boards(run.board, run.wheel)
    done = emulator.run(CHECK, plans, DIGITS, TINSMITH_ISA=run.isa)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    say(f"{run}: {found['codes']} codes, {len(found['unequal'])} plans differ")
    assert found["unequal"] == {}
    assert found["codes"] > 10_000
    assert [kernel for kernel in found["kernels"] if kernel in run.kernels] == run.kernels


@pytest.mark.parametrize(("board", "machine"), [(PI_4, "aarch64"), (PI_32_BIT, "armv7l")])
def test_pip_takes_the_wheel(
    board: Board, machine: str, boards: Callable[[Board, str], Emulator]
) -> None:
    """What pip asks, on the board; of Python's own file, where the emulator has a script."""
    script = (
        "import os, sys; sys.executable = os.environ['PYTHONHOME'] + '/bin/python3.11';"
        "from packaging.tags import platform_tags; print(*platform_tags())"
    )
    done = boards(board, machine).run("-c", script)
    assert WHEELS[machine] in done.stdout.split(), done.stderr


@pytest.mark.parametrize("run", [run for run in RUNS if not run.isa], ids=str)
def test_a_digit(
    run: Run,
    boards: Callable[[Board, str], Emulator],
    digit: tuple[Path, bytes],
    tmp_path: Path,
) -> None:
    """The program of docs/how-to/c.md, linked with the wheel's library."""
    emulator, (image, wanted) = boards(run.board, run.wheel), digit
    (library,) = emulator.python.parent.glob("site/tinsmith_native/libtinsmith.so")
    program = tmp_path / "digit"
    script = runpy.run_path(str(NATIVE / "wheels.py"))
    compiler = [*script["compiler"](script["MACHINES"][run.wheel]), INCLUDE]
    subprocess.run([*compiler, str(DIGIT), str(library), "-o", str(program)], check=True)
    path = f"LD_LIBRARY_PATH={library.parent}"
    words = [*emulator.command, "-E", path, str(program), str(DIGITS), str(image)]
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, wanted, b"")


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """An image, and what the program is to print."""
    golden = read_bundle(DIGITS).golden()
    image = tmp_path_factory.mktemp("image") / "digit.pgm"
    image.write_bytes(b"P5\n8 8\n255\n" + array(golden.inputs)[0].tobytes())
    return image, b"%d\n" % int(array(golden.outputs_int8)[0].argmax())


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`digit` and `codes` for the first Pi: one file each, with all that they need."""
    folder = tmp_path_factory.mktemp("pi1")
    compiler = [str(zig()), "cc", "-target", "arm-linux-musleabihf", "-mcpu=arm1176jzf_s", INCLUDE]
    options = ["-std=c11", "-O2", "-static", "-ffp-contract=off", '-DTIN_VERSION="0.1.0"']

    def compiled(numbered: tuple[int, Path]) -> str:
        number, source = numbered
        part = str(folder / f"{number}.o")
        subprocess.run([*compiler, *options, "-c", str(source), "-o", part], check=True)
        return part

    def linked(source: Path) -> Path:
        program = folder / source.stem
        words = [str(source), *parts, "-o", str(program)]
        subprocess.run([*compiler, *options, *words], check=True)
        return program

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(compiled, enumerate(sorted(NATIVE.glob("src/**/*.c")))))
    return {source.stem: linked(source) for source in (DIGIT, CODES)}


def on_the_first_pi(*words: object, data: bytes = b"") -> bytes:
    line = [str(qemu("qemu-arm")), "-cpu", "arm1176", *map(str, words)]
    done = subprocess.run(line, input=data, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_codes_on_the_first_pi(
    programs: dict[str, Path], vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    for name, one in vectors.items():
        plan.write_bytes(one.plan)
        samples = [source[i].tobytes() for i in range(SAMPLES) for source in one.inputs]
        wanted = [target[i].tobytes() for i in range(SAMPLES) for target in one.outputs]
        found = on_the_first_pi(programs["codes"], plan, data=b"".join(samples))
        assert found == b"".join(wanted), name


def test_golden_vectors_on_the_first_pi(programs: dict[str, Path], tmp_path: Path) -> None:
    bundle = read_bundle(DIGITS)
    golden, plan = bundle.golden(), tmp_path / "plan"
    plan.write_bytes(bundle.files["model.int8.plan"])
    codes = array(golden.inputs) ^ np.uint8(128)  # uint8 pixels as int8 codes
    found = on_the_first_pi(programs["codes"], plan, data=codes.tobytes())
    assert found == array(golden.outputs_int8).tobytes()


def test_a_digit_on_the_first_pi(programs: dict[str, Path], digit: tuple[Path, bytes]) -> None:
    image, wanted = digit
    assert on_the_first_pi(programs["digit"], DIGITS, image) == wanted
