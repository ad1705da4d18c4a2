"""The wheels of tinsmith-native: their tags, what is in them, and the same bytes every time."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from arm64.emulator import MissingError
from arm64.plans import DIGITS
from arm64.wheels import NATIVE, WHEELS, native_wheels
from packaging.tags import platform_tags

LARGEST = 400_000
OLDEST_GLIBC = 2, 17
# The architecture as readelf calls it, and the instruction sets that have kernels.
CONTENTS = {
    "x86_64": ("Advanced Micro Devices X86-64", {"avx2", "avxvnni", "avx512vnni"}),
    "aarch64": ("AArch64", {"neon", "neondot"}),
    "armv7l": ("ARM", {"neon"}),
    "armv6l": ("ARM", {"neon"}),
}
# Libraries that every such system has.
LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0"}

each_machine = pytest.mark.parametrize("machine", WHEELS)


@pytest.fixture(scope="module")
def libraries(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shared library of each wheel."""
    folder, found = tmp_path_factory.mktemp("libraries"), {}
    for machine, wheel in wheels.items():
        with zipfile.ZipFile(wheel) as archive:
            name = archive.extract("tinsmith_native/libtinsmith.so", folder / machine)
            found[machine] = Path(name)
    return found


def readelf(library: Path, *options: str) -> str:
    if not shutil.which("readelf"):
        raise MissingError("readelf: apt-get install binutils")
    line = ["readelf", "--wide", *options, str(library)]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


@each_machine
def test_tag_and_size(machine: str, wheels: dict[str, Path]) -> None:
    platform = WHEELS[machine]
    wheel = wheels[machine]
    assert wheel.name == f"tinsmith_native-0.1.0-py3-none-{platform}.whl"
    assert wheel.stat().st_size <= LARGEST
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert (
            f"Tag: py3-none-{platform}\n"
            in archive.read("tinsmith_native-0.1.0.dist-info/WHEEL").decode()
        )
    assert "tinsmith_native-0.1.0.dist-info/licenses/LICENSE" in names
    assert [name for name in names if ".so" in name] == ["tinsmith_native/libtinsmith.so"]


def test_pip_takes_it_on_a_pi_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulated boards ask by themselves; that of a Pi 1 or Zero has no Python."""
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-armv6l")
    assert WHEELS["armv6l"] in set(platform_tags())


@each_machine
def test_what_the_library_needs(machine: str, libraries: dict[str, Path]) -> None:
    library = libraries[machine]
    architecture, _ = CONTENTS[machine]
    assert re.search(rf"Machine:\s+{architecture}\n", readelf(library, "--file-header"))
    dynamic = readelf(library, "--dynamic")
    assert set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)) <= LIBRARIES
    assert "(TEXTREL)" not in dynamic
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic
    versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", readelf(library, "--version-info"))
    assert versions
    assert max((int(major), int(minor)) for major, minor in versions) <= OLDEST_GLIBC
    assert os.fsencode(NATIVE) not in library.read_bytes()


@each_machine
def test_nothing_can_be_written_but_the_stack(machine: str, libraries: dict[str, Path]) -> None:
    """There is no state: what the loader fills in is made read-only, and nothing else is there."""
    sections = re.findall(
        r"\] (\S+)\s+(?:PROGBITS|NOBITS|DYNAMIC|INIT_ARRAY|FINI_ARRAY)\s.*\sWA\s",
        readelf(libraries[machine], "--sections"),
    )
    assert set(sections) <= {".data.rel.ro", ".dynamic", ".got", ".got.plt", ".relro_padding"}
    assert "NOW" in readelf(libraries[machine], "--dynamic")
    segments = readelf(libraries[machine], "--segments")
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.* RW ", segments)


@each_machine
def test_kernels_of_every_instruction_set(machine: str, libraries: dict[str, Path]) -> None:
    data = libraries[machine].read_bytes()
    for folder in (NATIVE / "src/kernels").iterdir():
        if folder.is_dir():
            source = "".join(file.read_text() for file in folder.glob("*.c"))
            names = re.findall(rf'"({folder.name} \w+)"', source)
            assert names, folder
            inside = [name.encode() in data for name in names]
            assert inside == [folder.name in CONTENTS[machine][1]] * len(names), names
    arm = readelf(libraries[machine], "--arch-specific") if machine == "armv6l" else ""
    assert ("Tag_CPU_arch: v6" in arm) == (machine == "armv6l")


def test_the_same_bytes_from_another_folder(wheels: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "another" / "native"
    skip = shutil.ignore_patterns("__pycache__", "build", "dist")
    shutil.copytree(NATIVE, copy, ignore=skip)
    again = native_wheels(tmp_path / "dist", "aarch64", native=copy)
    assert again["aarch64"].read_bytes() == wheels["aarch64"].read_bytes()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="runs the wheel for x86_64")
@pytest.mark.parametrize("isa", ["portable", "avx2", "avxvnni", "avx512vnni"])
def test_codes_here(isa: str, wheels: dict[str, Path], plans: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheels["x86_64"]) as archive:
        archive.extractall(tmp_path)
    script = Path(__file__).with_name("check_native.py")
    line = [sys.executable, str(script), str(plans), str(DIGITS)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TINSMITH_ISA": isa}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["unequal"] == {}
    if isa == "portable":
        assert found["kernels"] == ["product (portable)"]


def test_a_machine_that_is_not_known() -> None:
    script = NATIVE / "wheels.py"
    done = subprocess.run(
        [sys.executable, str(script), "dist", "riscv64"], capture_output=True, text=True
    )
    wanted = "expected some of x86_64, aarch64, armv7l, armv6l, got riscv64\n"
    assert (done.returncode, done.stderr) == (1, wanted)
