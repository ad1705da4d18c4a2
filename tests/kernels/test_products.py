"""The kernels of products in C: equal to the portable one to the bit, and in registers."""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "runtime/native/kernels.cmake"
ISAS = ("avx2", "avxvnni", "avx512vnni")
FLAGS = {"avxvnni": "avx_vnni", "avx512vnni": "avx512_vnni", "avx2": "avx2"}
SIMDE = Path("/usr/include/simde/x86/avx512/dpbusd.h")
# What multiplies in an inner loop.
MULTIPLIES = re.compile(r"v?p(maddubsw|maddwd|dpbusd)")

pytestmark = [
    pytest.mark.skipif(
        platform.machine() != "x86_64" or not shutil.which("cmake") or not shutil.which("gcc"),
        reason="needs an x86-64 with CMake and GCC",
    ),
]


def build(folder: Path, *options: str) -> Path:
    """Builds `check` and the kernels, and gives the folder."""
    source = Path(__file__).parent
    configure = ["cmake", "-S", str(source), "-B", str(folder), f"-DKERNELS={KERNELS}", *options]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning:" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("plain"))


def has(isa: str) -> bool:
    return FLAGS[isa] in Path("/proc/cpuinfo").read_text().split()


def check(folder: Path, isa: str, count: int, seed: int = 0) -> str:
    """Runs `count` random products; how many each kernel computed."""
    command = [str(folder / "check"), isa, str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{isa}: {done.stdout}")
    assert not re.search(": 0$", done.stdout, re.M), done.stdout
    return done.stdout


@pytest.mark.parametrize("isa", ISAS)
def test_equal_to_the_portable_kernel(isa: str, plain: Path) -> None:
    if not has(isa):
        pytest.skip(f"this CPU has no {isa}: it runs through SIMDe")
    check(plain, isa, 3000)


@pytest.mark.slow
def test_no_byte_outside(tmp_path: Path) -> None:
    build(tmp_path, "-DSANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-O1")
    for isa in filter(has, ISAS):
        check(tmp_path, isa, 400)


@pytest.mark.slow
@pytest.mark.skipif(not SIMDE.exists(), reason="needs SIMDe (libsimde-dev)")
def test_instructions_that_this_cpu_lacks(tmp_path: Path) -> None:
    build(tmp_path, "-DSIMDE=ON")
    for isa in ISAS[1:]:
        check(tmp_path, isa, 500)


@dataclass(frozen=True)
class Loop:
    """An innermost loop of a function, instruction by instruction."""

    function: str
    body: tuple[str, ...]


def inner_loops(library: Path) -> Iterator[Loop]:
    """Of all functions: what lies between a jump backwards and where it goes."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", str(library)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for function in text.split("\n\n"):
        lines = re.findall(r"^\s*([0-9a-f]+):\t(.*?)\s*$", function, re.M)
        name = re.search(r"<(\w+)>:", function)
        code = [(int(address, 16), words) for address, words in lines]
        loops = []
        for address, words in code:
            jump = re.match(r"j\w+\s+([0-9a-f]+) ", words)
            if jump and int(jump[1], 16) <= address:
                loops.append((int(jump[1], 16), address))
        for first, last in loops:
            if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in loops):
                body = tuple(words for address, words in code if first <= address <= last)
                yield Loop(name[1] if name else "", body)


def test_sums_stay_in_registers(plain: Path) -> None:
    """The loops that multiply touch no memory on the stack."""
    loops = [
        loop
        for loop in inner_loops(plain / "libkernels.so")
        if any(MULTIPLIES.match(words) for words in loop.body) and loop.function != "pack"
    ]
    names = {loop.function for loop in loops}
    assert {
        "tile_16",
        "tile_8",
        "pixel_16",
        "pixel_8",
        "tile_32",
        "dense_32",
        "lanes_4x16",
        "sum_quads",
        *(f"{rows}_{columns}" for rows in ("rows", "every_second") for columns in range(5, 9)),
    } <= names
    spilled = [
        (loop.function, words)
        for loop in loops
        for words in loop.body
        if re.search(r"\(%r[sb]p", words)
    ]
    assert spilled == []
