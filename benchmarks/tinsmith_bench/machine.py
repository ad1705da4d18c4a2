"""What a report says about the machine that it was made on."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """The machine, its software and how busy it was.

    Attributes:
        model: the board's name where there is one, else the processor's.
        architecture: `x86_64`, `aarch64`, …
        cores: how many it has.
        os: name and version.
        python: version.
        engines: name and version of each engine that was measured, by backend.
        load_average: processes that wanted to run, over the minute before the benchmark; `None`
            where the system does not count them.
    """

    model: str
    architecture: str
    cores: int
    os: str
    python: str
    engines: Mapping[str, str]
    load_average: float | None


def describe_machine(engines: Mapping[str, str]) -> Machine:
    """Describes this machine.

    Args:
        engines: name and version of each engine, by backend.
    """
    cpuinfo = Path("/proc/cpuinfo")
    return Machine(
        model=model_name(cpuinfo.read_text() if cpuinfo.exists() else ""),
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        os=_os_name(),
        python=platform.python_version(),
        engines=dict(engines),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def model_name(cpuinfo: str) -> str:
    """Finds the machine's name in the text of `/proc/cpuinfo`.

    A Raspberry Pi names the board in `Model`, an x86 machine the processor in `model name`.
    """
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    return fields.get("Model") or fields.get("model name") or platform.processor() or "unknown"


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
