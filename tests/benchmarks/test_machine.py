import platform

import pytest

from tinsmith_bench.machine import describe_machine, model_name

PI = """\
processor\t: 3
CPU architecture: 8
CPU part\t: 0xd08

Revision\t: c03115
Model\t\t: Raspberry Pi 4 Model B Rev 1.5
"""
X86 = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [(PI, "Raspberry Pi 4 Model B Rev 1.5"), (X86, "AMD EPYC")],
)
def test_the_board_or_else_the_processor_gives_the_name(cpuinfo, name):
    assert model_name(cpuinfo) == name


def test_a_machine_that_tells_nothing_still_has_a_name():
    assert model_name("")


def test_this_machine_is_described():
    machine = describe_machine({"litert": "LiteRT 2.3.0"})
    assert machine.architecture == platform.machine()
    assert machine.python == platform.python_version()
    assert machine.cores >= 1
    assert machine.os
    assert machine.engines == {"litert": "LiteRT 2.3.0"}
