import platform
from pathlib import Path

import pytest

from tinsmith_runtime import cpu
from tinsmith_runtime.cpu import Cpu, parse_cpuinfo, read_cpu

INTEL = "model name\t: Some Xeon\nflags\t\t: fpu avx2 avx512_vnni avx_vnni\n\n"
PI5_CORE = "processor\t: 0\nFeatures\t: fp asimd asimddp aes\n\n"
LITTLE_CORE = "processor\t: 1\nFeatures\t: fp asimd\n\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (INTEL * 2, "Some Xeon with AVX2, VNNI, VNNI (AVX-512)"),
        (
            PI5_CORE * 4 + "Model\t: Raspberry Pi 5 Model B\n",
            "Raspberry Pi 5 Model B with NEON, dot product (asimddp)",
        ),
        (PI5_CORE + LITTLE_CORE + "Hardware : Some Board", "Some Board with NEON"),
        ("model name : Old\nflags : fpu sse2\n", "Old"),
        ("Features :\n", platform.machine()),
        ("no colon here\n", platform.machine()),
        ("", platform.machine()),
    ],
)
def test_parse(text: str, expected: str) -> None:
    assert str(parse_cpuinfo(text)) == expected


def test_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_cpu().name
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    assert read_cpu() == Cpu(platform.machine(), ())
