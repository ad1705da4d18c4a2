"""The machine, on made-up `/proc` and `/sys` trees, and on the one at hand."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tinsmith_bench import machine
from tinsmith_bench.machine import Monitor, read_state, warnings

PI = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU architecture: 8
CPU part\t: 0xd08

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid

Revision\t: c03115
Model\t\t: Raspberry Pi 4 Model B Rev 1.5
"""
X86 = (
    "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
    "cpu MHz\t\t: 2400.0\nflags\t\t: sse avx2 avx512_vnni\n"
    "\nprocessor\t: 1\ncpu MHz\t\t: 2600.0\nflags\t\t: sse avx2 avx512_vnni\n"
)
TICKS = os.sysconf("SC_CLK_TCK")


Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Makes files below a root; `None` removes one."""

    def plant(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / PATHS[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return plant


PATHS = {
    "cpuinfo": "proc/cpuinfo",
    "loadavg": "proc/loadavg",
    "meminfo": "proc/meminfo",
    "stat": "proc/stat",
    "tree": "proc/device-tree/model",
    "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "clock0": "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    "clock1": "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq",
    "heat0": "sys/class/thermal/thermal_zone0/temp",
    "heat1": "sys/class/thermal/thermal_zone1/temp",
    "throttled": "sys/devices/platform/soc/soc:firmware/get_throttled",
    "battery": "sys/class/power_supply/BAT0/type",
    "battery_status": "sys/class/power_supply/BAT0/status",
    "mains": "sys/class/power_supply/AC/type",
    "mains_online": "sys/class/power_supply/AC/online",
}


def a_pi(plant: Plant) -> Path:
    return plant(
        cpuinfo=PI,
        loadavg="0.10 0.05 0.01 1/100 123\n",
        meminfo="MemTotal:        3884468 kB\nMemFree:  1 kB\n",
        stat="cpu  100 0 50 9000 10 0 5 0 0 0\ncpu0 1 2 3\n",
        tree="Raspberry Pi 4 Model B Rev 1.5\0",
        governor="ondemand\n",
        clock0="1800000\n",
        clock1="1200000\n",
        heat0="48312\n",
        heat1="51000\n",
        throttled="0\n",
    )


def test_a_raspberry_pi_is_described(plant: Plant) -> None:
    found = Monitor(a_pi(plant)).describe({"litert": "LiteRT 2.3.0"})
    assert found.model == "Raspberry Pi 4 Model B Rev 1.5"
    assert found.features == ("NEON",)
    assert found.memory_bytes == 3884468 * 1024
    assert found.governor == "ondemand"
    assert found.engines == {"litert": "LiteRT 2.3.0"}
    assert found.before.frequency_mhz == 1500
    assert found.before.temperature_c == 51
    assert found.before.load_average == 0.10
    assert found.before.throttled == ()
    assert found.before.power is None
    assert list(warnings(found)) == []


def test_an_x86_machine_tells_its_clock_elsewhere(plant: Plant) -> None:
    found = Monitor(plant(cpuinfo=X86, loadavg="3.0 1 1 1/1 1\n")).describe({})
    assert found.model == found.cpu == "AMD EPYC"
    assert found.features == ("AVX2", "VNNI (AVX-512)")
    assert found.before.frequency_mhz == 2500
    assert (found.memory_bytes, found.governor, found.others_cores) == (None, None, None)
    assert found.before.throttled is None
    # Nothing tells what others used: the load average has to do.
    assert "busy before it began (load average 3.0)" in next(warnings(found))


def test_a_machine_that_tells_nothing_still_has_a_name(tmp_path: Path) -> None:
    found = Monitor(tmp_path).describe({})
    assert found.model
    assert found.before == found.after == replace(found.before)
    assert set(vars(found.before).values()) == {None}
    assert list(warnings(found)) == []


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("0x50005", {"under-voltage now", "throttled now", "under-voltage since boot",
                     "throttled since boot"}),
        ("20002", {"frequency capped now", "frequency capped since boot"}),
        ("0x80000", {"soft temperature limit since boot"}),
        ("nonsense", None),
    ],
)  # fmt: skip
def test_throttle_flags_are_put_in_words(plant: Plant, bits: str, words: set[str] | None) -> None:
    found = read_state(plant(throttled=f"{bits}\n")).throttled
    assert (found if found is None else set(found)) == words


@pytest.mark.skipif(shutil.which("sh") is None, reason="no sh to run a made-up vcgencmd")
def test_vcgencmd_is_asked_where_sys_does_not_tell(tmp_path: Path) -> None:
    tool = tmp_path / "usr/bin/vcgencmd"
    tool.parent.mkdir(parents=True)
    tool.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x4\n')
    tool.chmod(0o755)
    assert read_state(tmp_path).throttled == ("throttled now",)
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert read_state(tmp_path).throttled is None


def test_throttling_is_warned_of_when_it_happened_meanwhile(plant: Plant) -> None:
    root = a_pi(plant)
    monitor = Monitor(root)
    plant(throttled="0x50000")
    (warning,) = warnings(monitor.describe({}))
    assert "throttled (throttled since boot, under-voltage since boot)" in warning
    # What happened before the benchmark is no reason to doubt it.
    assert list(warnings(Monitor(root).describe({}))) == []
    plant(throttled="0x4")
    assert "throttled (throttled now)" in next(warnings(Monitor(root).describe({})))


def test_a_clock_that_slows_down_and_a_hot_chip_are_warned_of(plant: Plant) -> None:
    monitor = Monitor(a_pi(plant))
    plant(clock0="600000", clock1="600000", heat1="84500")
    slow, hot = warnings(monitor.describe({}))
    assert slow == "The clock slowed down, from 1500 to 600 MHz."
    assert "hot at the end, 84 °C" in hot or "hot at the end, 85 °C" in hot


@pytest.mark.parametrize(
    ("files", "power"),
    [
        ({"battery": "Battery\n", "battery_status": "Discharging\n"}, "battery"),
        ({"battery": "Battery\n", "battery_status": "Charging\n"}, None),
        ({"battery": "Battery\n", "battery_status": "Discharging\n", "mains": "Mains\n",
          "mains_online": "1\n"}, "mains"),
        ({"battery": "Battery\n", "battery_status": "Discharging\n", "mains": "Mains\n",
          "mains_online": "0\n"}, "battery"),
    ],
)  # fmt: skip
def test_a_battery_is_warned_of(plant: Plant, files: dict[str, str], power: str | None) -> None:
    root = plant(**files)
    assert read_state(root).power == power
    told = any("ran on battery" in text for text in warnings(Monitor(root).describe({})))
    assert told == (power == "battery")


def test_a_slow_governor_is_warned_of(plant: Plant) -> None:
    root = plant(governor="powersave")
    assert "governor is powersave" in next(warnings(Monitor(root).describe({})))


def test_what_others_used_and_the_host_took_is_counted(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 110.0])
    monkeypatch.setattr(machine, "monotonic", lambda: next(now))
    root = plant(cpuinfo=X86, stat="cpu  1000 0 0 9000 0 0 0 100 0 0\n")
    monitor = Monitor(root)
    busy, stolen = 1000 + 15 * TICKS, 100 + 4 * TICKS
    plant(stat=f"cpu  {busy} 0 0 9000 0 0 0 {stolen} 0 0\n")
    found = monitor.describe({})
    # 15 s of work in 10 s, next to nothing of it ours; the host took 4 s.
    assert found.others_cores == pytest.approx(1.5, abs=0.1)
    assert found.stolen_cores == 0.4
    texts = list(warnings(found))
    assert any("other processes used 1." in text for text in texts)
    assert any("gave 0.40 cores to others" in text for text in texts)


def test_our_own_work_is_not_anothers(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 110.0])
    monkeypatch.setattr(machine, "monotonic", lambda: next(now))
    spent = iter([10.0, 19.0])
    monkeypatch.setattr(os, "times", lambda: os.times_result((next(spent), 0, 0, 0, 0)))
    monitor = Monitor(plant(stat="cpu  0 0 0 0 0 0 0 0 0 0\n"))
    plant(stat=f"cpu  {9 * TICKS} 0 0 0 0 0 0 0 0 0\n")
    assert monitor.describe({}).others_cores == 0


def test_the_same_machine_is_told_from_another(plant: Plant) -> None:
    found = Monitor(a_pi(plant)).describe({})
    later = replace(found, before=read_state(), python="3.13.0", os="newer")
    assert found.is_same(later)
    for change in ({"cores": 8}, {"governor": "performance"}, {"memory_bytes": 8 << 30}):
        assert not found.is_same(replace(found, **change))


def test_this_machine_is_described() -> None:
    found = Monitor().describe({"litert": "LiteRT 2.3.0"})
    assert found.architecture == platform.machine()
    assert found.python == platform.python_version()
    assert found.cores >= 1
    assert found.os
    assert found.kernel
