"""What the CPU is, and which of its instructions the int8 kernels of the engines are made for."""

import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# The kernel's name of a feature, and ours. Without the dot products int8 runs, but slower.
_FEATURES = {
    "neon": "NEON",
    "asimd": "NEON",
    "asimddp": "dot product (asimddp)",
    "i8mm": "int8 matrix product (i8mm)",
    "avx2": "AVX2",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI (AVX-512)",
}


@dataclass(frozen=True)
class Cpu:
    """A CPU: its name, and the features that matter to int8, as far as the system tells."""

    name: str
    features: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} with {', '.join(self.features)}" if self.features else self.name


def read_cpu() -> Cpu:
    """Reads what Linux says of the CPU; elsewhere there is a name alone."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return parse_cpuinfo(text)


def parse_cpuinfo(text: str) -> Cpu:
    """Makes sense of `/proc/cpuinfo`.

    Args:
        text: one block of `key : value` lines a core; x86 has `flags`, Arm has `Features`.

    Returns:
        The first name found, else what Python calls the machine; the features all cores have.
    """
    pairs = [
        (key.strip(), value.strip())
        for key, colon, value in (line.partition(":") for line in text.splitlines())
        if colon
    ]
    names = [
        value
        for wanted in ("model name", "Model", "Hardware")
        for key, value in pairs
        if key == wanted and value
    ]
    # A board with big and little cores has what the lesser ones have: a thread may land on any.
    cores = [set(value.split()) for key, value in pairs if key in ("flags", "Features")]
    common = set.intersection(*cores) if cores else set()
    features = dict.fromkeys(ours for kernels, ours in _FEATURES.items() if kernels in common)
    return Cpu(names[0] if names else platform.machine() or "unknown CPU", tuple(features))
