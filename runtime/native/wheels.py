"""Cross-compiles the wheels of tinsmith-native with zig, one for each kind of Linux machine.

    python runtime/native/wheels.py FOLDER [MACHINE ...]

It needs ziglang, scikit-build-core, cmake and ninja, which `make wheels` installs. The same sources
and versions give the same bytes.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What a wheel is for.

    Attributes:
        target: what zig calls it, with the oldest C library that will do.
        cpu: the least CPU, as zig calls it.
        platform: the tag that pip looks for.
    """

    target: str
    cpu: str
    platform: str


MACHINES = {
    "x86_64": Machine("x86_64-linux-gnu.2.17", "baseline", "manylinux_2_17_x86_64"),
    "aarch64": Machine("aarch64-linux-gnu.2.17", "baseline", "manylinux_2_17_aarch64"),
    "armv7l": Machine("arm-linux-gnueabihf.2.17", "generic+v7a+vfp3d16", "manylinux_2_17_armv7l"),
    # Pi 1 and Zero. There is no manylinux for it: pip takes what the machine itself is called.
    "armv6l": Machine("arm-linux-gnueabihf.2.17", "arm1176jzf_s", "linux_armv6l"),
}
NATIVE = Path(__file__).parent


def zig() -> Path:
    """The compiler's path."""
    found = find_spec("ziglang")
    if found is None or found.origin is None:
        sys.exit("wheels.py needs zig, the package ziglang: `make wheels` installs it")
    return Path(found.origin).with_name("zig")


def compiler(machine: Machine) -> list[str]:
    """The C compiler for a machine, as words; without options it optimizes nothing.

    What then looks for undefined behaviour is left out: to compile its library first would take
    most of the time.
    """
    options = ["-target", machine.target, f"-mcpu={machine.cpu}", "-fno-sanitize=undefined"]
    return [str(zig()), "cc", *options]


def build(folder: Path, machine: Machine) -> Path:
    """Builds the wheel for a machine; gives its path."""
    settings = {
        "wheel.tags": f"py3-none-{machine.platform}",
        "install.strip": "false",  # the linker has done so, and knows the machine
        "cmake.define.CMAKE_SYSTEM_NAME": "Linux",
    }
    environment = {
        **os.environ,
        "CC": " ".join(compiler(machine)),
        "LDFLAGS": "-s",
    }
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    words += [f"--config-settings={name}={value}" for name, value in settings.items()]
    words += ["--wheel-dir", str(folder), str(NATIVE)]
    subprocess.run(words, check=True, env=environment)
    (wheel,) = folder.glob(f"tinsmith_native-*-{machine.platform}.whl")
    return wheel


def main(folder: str, *names: str) -> None:
    """Builds some wheels, or all of them."""
    if unknown := set(names) - set(MACHINES):
        sys.exit(f"expected some of {', '.join(MACHINES)}, got {', '.join(sorted(unknown))}")
    for name in names or MACHINES:
        try:
            wheel = build(Path(folder), MACHINES[name])
        except subprocess.CalledProcessError as error:
            sys.exit(f"{name}: pip failed with status {error.returncode}")
        print(f"{wheel}: {wheel.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
