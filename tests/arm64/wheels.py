"""The wheels of tinsmith-native, and the compiler that makes them."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from arm64.emulator import PROJECT, MissingError

NATIVE = PROJECT / "runtime" / "native"
# The machines that `make wheels` compiles for, and the platform that each wheel is for.
WHEELS = {
    "x86_64": "manylinux_2_17_x86_64",
    "aarch64": "manylinux_2_17_aarch64",
    "armv7l": "manylinux_2_17_armv7l",
    "armv6l": "linux_armv6l",
}


def zig() -> Path:
    """The compiler of `make wheels`."""
    found = find_spec("ziglang")
    if found is None or found.origin is None:
        raise MissingError("zig, of the package ziglang: `make wheels` installs it")
    return Path(found.origin).with_name("zig")


def native_wheels(folder: Path, *machines: str, native: Path = NATIVE) -> dict[str, Path]:
    """Compiles tinsmith-native's wheels, as `make wheels` does."""
    zig()
    line = [sys.executable, str(native / "wheels.py"), str(folder), *machines]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning:" not in done.stdout + done.stderr
    return {
        machine: path
        for machine, platform in WHEELS.items()
        for path in folder.glob(f"tinsmith_native-*-{platform}.whl")
    }
