"""The kernels of products on emulated Arm CPUs: those of a Pi 2, 3, 4 and 5.

Compiled by Debian's GCC for Arm. Each kernel is compared with the portable one on random products.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from arm64.emulator import MissingError, qemu

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "runtime/native/kernels.cmake"
COUNT = 400


@dataclass(frozen=True)
class Machine:
    """A CPU as QEMU calls it, and which kernels it is to run."""

    compiler: str
    program: str
    cpu: str
    isa: str


MACHINES = [
    Machine("aarch64-linux-gnu-gcc", "qemu-aarch64", "cortex-a53", "neon"),
    Machine("aarch64-linux-gnu-gcc", "qemu-aarch64", "cortex-a72", "neon"),
    Machine("aarch64-linux-gnu-gcc", "qemu-aarch64", "cortex-a76", "neondot"),
    Machine("arm-linux-gnueabihf-gcc", "qemu-arm", "cortex-a7", "neon"),
]
# What multiplies in an inner loop, and the stack in its operands.
MULTIPLIES = re.compile(r"(smull2?|smlal2?|sdot)\s+v")
STACK = re.compile(r"\[sp[\],]")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder that each compiler built into."""
    folders = {}
    for compiler in {machine.compiler for machine in MACHINES}:
        if not shutil.which(compiler) or not shutil.which("cmake"):
            raise MissingError(f"{compiler} or CMake")
        folder = tmp_path_factory.mktemp(compiler)
        configure = [
            *("cmake", "-S", str(ROOT / "tests/kernels"), "-B", str(folder)),
            *(f"-DKERNELS={KERNELS}", "-DCMAKE_SYSTEM_NAME=Linux"),
            *(f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_EXE_LINKER_FLAGS=-static"),
        ]
        for command in (configure, ["cmake", "--build", str(folder)]):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "warning:" not in done.stdout + done.stderr
        folders[compiler] = folder
    return folders


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine.cpu}-{machine.isa}")
def test_equal_to_the_portable_kernel(machine: Machine, built: dict[str, Path]) -> None:
    words = [qemu(machine.program), "-cpu", machine.cpu, built[machine.compiler] / "check"]
    line = [*map(str, words), machine.isa, str(COUNT), "1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{machine.isa} convolution: {COUNT}\n" in done.stdout
    assert re.search("neon depthwise: [1-9]", done.stdout)


def test_sums_stay_in_registers(built: dict[str, Path]) -> None:
    """On ARMv8, the loops that multiply touch no memory on the stack."""
    library = built["aarch64-linux-gnu-gcc"] / "libkernels.so"
    command = ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", str(library)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seen, spilled = set(), []
    for function in text.split("\n\n"):
        name = re.search(r"<(\w+)>:", function)
        lines = re.findall(r"^\s*([0-9a-f]+):\t(.*?)\s*$", function, re.M)
        code = [(int(address, 16), words) for address, words in lines]
        jumps = [
            (int(jump[1], 16), address)
            for address, words in code
            if (jump := re.match(r"b\.\w+\s+([0-9a-f]+) ", words))
        ]
        loops = [(first, last) for first, last in jumps if first <= last]
        for first, last in loops:
            if any(first <= a and b <= last and (a, b) != (first, last) for a, b in loops):
                continue
            body = [words for address, words in code if first <= address <= last]
            if name and any(MULTIPLIES.match(words) for words in body):
                seen.add(name[1])
                spilled += [(name[1], words) for words in body if STACK.search(words)]
    assert {"tile_full", "tile_half", "pixel_full", "pixel_half", "lanes_4x8"} <= seen
    assert spilled == []
