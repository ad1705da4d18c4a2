"""The machine that a report was made on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """What changes while a machine works.

    Attributes:
        load_average: processes that wanted to run, over the last minute.
        frequency_mhz: of the cores, their mean.
        temperature_c: of the hottest part that says so.
        throttled: what a Raspberry Pi's firmware says it did to the clock; `None` elsewhere.
        power: `mains` or `battery`.
    """

    load_average: float | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: tuple[str, ...] | None
    power: str | None


@dataclass(frozen=True)
class Machine:
    """The machine, its software and how busy it was.

    Attributes:
        model: the board's name where there is one, else the processor's.
        cpu: the processor's name.
        features: those of its instructions that matter to int8.
        architecture: `x86_64`, `aarch64`, …
        cores: how many this process may use.
        memory_bytes: physical memory.
        governor: the policy of the clock, of the first core: `performance`, `ondemand`, …
        os: name and version.
        kernel: name and release.
        python: version.
        engines: name and version of each engine that was measured, by backend.
        before: its state before the timings.
        after: its state after them.
        others_cores: cores that other processes used meanwhile, on average.
        stolen_cores: cores that the host of a virtual machine kept for others meanwhile.
    """

    model: str
    cpu: str
    features: tuple[str, ...]
    architecture: str
    cores: int
    memory_bytes: int | None
    governor: str | None
    os: str
    kernel: str
    python: str
    engines: dict[str, str]
    before: State
    after: State
    others_cores: float | None
    stolen_cores: float | None

    def is_same(self, other: "Machine") -> bool:
        """Whether timings on both may be compared: the same hardware under the same policy."""
        return self.hardware == other.hardware

    @property
    def hardware(self) -> str:
        """All that timings depend on and that does not change by itself, in words."""
        parts = [self.model, *([] if self.cpu == self.model else [self.cpu]), *self.features]
        parts += [self.architecture, f"{self.cores} cores"]
        if self.memory_bytes is not None:
            # A kernel's update may take or give some memory; half a gigabyte is another board.
            parts.append(f"{self.memory_bytes / 2**30:.0f} GB")
        return ", ".join([*parts, *([f"governor {self.governor}"] if self.governor else [])])

    def summary(self) -> str:
        """The hardware in a few words."""
        clock = f", governor {self.governor}" if self.governor else ""
        return f"{self.model}, {self.cores} cores, {self.architecture}{clock}"
