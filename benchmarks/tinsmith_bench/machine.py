"""What a report says about the machine that it was made on, before the timings and after.

Everything is read from Linux's `/proc` and `/sys`, and from `vcgencmd` on a Raspberry Pi. What a
system does not tell is `None`: nothing is guessed.
"""

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tinsmith_bench.report_data.machine import Machine, State
from tinsmith_runtime.cpu import parse_cpuinfo

# Bits of the Raspberry Pi firmware's `get_throttled`: the low four say now, the high four since
# the start. Source: Raspberry Pi documentation, "vcgencmd", get_throttled.
_THROTTLE_BITS = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}
# Others than the benchmark took more than a tenth of a core: that shows in the timings.
_BUSY_CORES = 0.1
# Where `/proc/stat` does not tell: this many processes wanted to run before it all began.
_BUSY_LOAD = 0.5
# A clock that runs slower at the end than at the beginning, by more than the reading's own noise.
_SLOWED = 0.95
# From here on chips of boards and laptops slow themselves down.
_HOT_C = 80


@dataclass(frozen=True)
class _Ticks:
    """Seconds of all cores together since the machine's start, and of this process."""

    busy_s: float
    stolen_s: float
    own_s: float
    now_s: float


class Monitor:
    """Looks at the machine when it is made, and again when it is asked to describe it.

    Args:
        root: where `/proc`, `/sys` and `/usr/bin/vcgencmd` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = read_state(root)
        self._ticks = _read_ticks(root)

    def describe(self, engines: Mapping[str, str]) -> Machine:
        """Describes the machine.

        Args:
            engines: name and version of each engine, by backend.
        """
        root = self._root
        cpuinfo = _read(root / "proc/cpuinfo") or ""
        cpu = parse_cpuinfo(cpuinfo)
        others, stolen = _used(self._ticks, _read_ticks(root))
        return Machine(
            model=_board(root, cpuinfo) or cpu.name,
            cpu=cpu.name,
            features=cpu.features,
            architecture=platform.machine(),
            cores=_cores(),
            memory_bytes=_memory_bytes(root),
            governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            os=_os_name(),
            kernel=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            engines=dict(engines),
            before=self._before,
            after=read_state(root),
            others_cores=others,
            stolen_cores=stolen,
        )


def read_state(root: Path = Path("/")) -> State:
    """Reads what changes while a machine works."""
    load = _read(root / "proc/loadavg")
    return State(
        load_average=float(load.split()[0]) if load else None,
        frequency_mhz=_frequency_mhz(root),
        temperature_c=_temperature_c(root),
        throttled=_throttled(root),
        power=_power(root),
    )


def warnings(machine: Machine) -> Iterator[str]:
    """Says in words why the timings of a machine are to be doubted."""
    before, after = machine.before, machine.after
    if machine.others_cores is None:
        if (before.load_average or 0) > _BUSY_LOAD:
            yield (
                f"The machine was busy before it began (load average {before.load_average}): "
                "measure again on a quiet one."
            )
    elif machine.others_cores > _BUSY_CORES:
        yield (
            f"The machine was busy: other processes used {machine.others_cores:.2f} of its "
            f"{machine.cores} cores meanwhile. Stop them and measure again."
        )
    if (machine.stolen_cores or 0) > _BUSY_CORES:
        yield (
            f"The host of this virtual machine gave {machine.stolen_cores:.2f} cores to others "
            "meanwhile: the timings are theirs too."
        )
    now = [word for word in (after.throttled or ()) if word.endswith(" now")]
    fresh = sorted(set(after.throttled or ()) - set(before.throttled or ()) - set(now))
    if now or fresh:
        yield (
            f"The board was throttled ({', '.join([*now, *fresh])}): check its power supply and "
            "its cooling, and measure again."
        )
    first, last = before.frequency_mhz, after.frequency_mhz
    if first and last and last < _SLOWED * first:
        yield f"The clock slowed down, from {first:.0f} to {last:.0f} MHz."
    if (after.temperature_c or 0) >= _HOT_C:
        yield f"The chip was hot at the end, {after.temperature_c:.0f} °C: it may slow itself down."
    if "battery" in (before.power, after.power):
        yield "The machine ran on battery: plug it in and measure again."
    if machine.governor in ("powersave", "conservative"):
        yield (
            f"The clock's governor is {machine.governor}, which favours a low clock: "
            "measure under the one that the product will use."
        )


def _read(path: Path) -> str | None:
    try:
        # The firmware's texts end in a NUL.
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _read(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _board(root: Path, cpuinfo: str) -> str | None:
    """A board's name: from the device tree, or from `Model` in the text of `/proc/cpuinfo`."""
    tree = _read(root / "proc/device-tree/model")
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    return tree or next((value.strip() for key, _, value in pairs if key.strip() == "Model"), None)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes(root: Path) -> int | None:
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _frequency_mhz(root: Path) -> float | None:
    found = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    mhz = [khz / 1e3 for khz in map(_number, found) if khz is not None]
    if not mhz:  # a virtual machine has no policy, but x86 tells the clock here
        lines = (_read(root / "proc/cpuinfo") or "").splitlines()
        mhz = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return round(sum(mhz) / len(mhz), 1) if mhz else None


def _temperature_c(root: Path) -> float | None:
    found = map(_number, (root / "sys/class/thermal").glob("thermal_zone*/temp"))
    celsius = [value / 1e3 for value in found if value is not None]
    return max(celsius, default=None)


def _throttled(root: Path) -> tuple[str, ...] | None:
    """What a Raspberry Pi's firmware did to the clock: asked in `/sys`, else by `vcgencmd`."""
    text = next(
        filter(None, map(_read, root.glob("sys/devices/platform/soc/soc:firmware/get_throttled"))),
        None,
    )
    vcgencmd = root / "usr/bin/vcgencmd"
    if text is None and vcgencmd.exists():
        try:
            words = [str(vcgencmd), "get_throttled"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        text = done.stdout.strip().removeprefix("throttled=")
    try:
        bits = int(text or "", 16)
    except ValueError:
        return None
    return tuple(words for bit, words in _THROTTLE_BITS.items() if bits >> bit & 1)


def _power(root: Path) -> str | None:
    supplies = list((root / "sys/class/power_supply").glob("*"))
    kinds = {supply: _read(supply / "type") for supply in supplies}
    if any(
        kind in ("Mains", "USB") and _read(supply / "online") == "1"
        for supply, kind in kinds.items()
    ):
        return "mains"
    discharging = any(
        kind == "Battery" and _read(supply / "status") == "Discharging"
        for supply, kind in kinds.items()
    )
    return "battery" if discharging else None


def _read_ticks(root: Path) -> _Ticks | None:
    """See `proc(5)`, /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    line = (_read(root / "proc/stat") or "").partition("\n")[0].split()
    if len(line) < 9 or line[0] != "cpu":
        return None
    user, nice, system, _, _, irq, softirq, stolen = (int(word) for word in line[1:9])
    per_s = os.sysconf("SC_CLK_TCK")
    own = os.times()
    own_s = own.user + own.system + own.children_user + own.children_system
    busy_s = (user + nice + system + irq + softirq) / per_s
    return _Ticks(busy_s, stolen / per_s, own_s, monotonic())


def _used(before: _Ticks | None, after: _Ticks | None) -> tuple[float | None, float | None]:
    """Cores that others used between two readings, and cores that were stolen."""
    if before is None or after is None or after.now_s <= before.now_s:
        return None, None
    seconds = after.now_s - before.now_s
    others = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return round(max(0.0, others) / seconds, 3), round(
        (after.stolen_s - before.stolen_s) / seconds, 3
    )
