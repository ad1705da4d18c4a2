"""What was measured, on what, with what, and how the machine was meanwhile: a line each."""

from collections.abc import Iterator

from tinsmith_bench.report_data import Report


def facts(report: Report) -> list[str]:
    """What was measured, on what, with what: a line each."""
    machine, dataset, method = report.machine, report.dataset, report.method
    several = len(report.bundles) > 1
    bundles = ", ".join(
        f"{one.name} = {one.file}" if several else one.file for one in report.bundles
    )
    targets = {"none": ", without targets"}.get(dataset.targets, "")
    decode = f", a file is read in {dataset.decode_us:.0f} µs" if dataset.decode_us else ""
    counts = [_plural(count, "thread") for count in method.threads]
    features = f" with {', '.join(machine.features)}" if machine.features else ""
    cpu = "" if machine.cpu == machine.model else f", {machine.cpu}"
    memory = f", {machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else ""
    return [
        f"bundle: {bundles}, measured {report.created} by tinsmith {report.tinsmith}",
        f"dataset: {dataset.name}, {dataset.samples:,} samples{targets}, "
        f"sha256 {dataset.sha256[:12]}{decode}",
        f"machine: {machine.model}{cpu}{features}, {_plural(machine.cores, 'core')}{memory}, "
        f"{machine.architecture}, {machine.os}, {machine.kernel}",
        f"software: {', '.join(machine.engines.values())}, Python {machine.python}, "
        f"{', '.join(counts)}",
        f"state: {'; '.join(_state(report))}",
    ]


def _state(report: Report) -> Iterator[str]:
    machine = report.machine
    before, after = machine.before, machine.after
    for what, unit, first, last in (
        ("load average", "", before.load_average, after.load_average),
        ("clock", " MHz", before.frequency_mhz, after.frequency_mhz),
        ("temperature", " °C", before.temperature_c, after.temperature_c),
    ):
        if first is not None and last is not None:
            yield f"{what} {first:g} before, {last:g}{unit} after"
    if machine.others_cores is not None:
        yield f"others used {machine.others_cores:.2f} cores"
    if machine.stolen_cores:
        yield f"the host took {machine.stolen_cores:.2f}"
    if machine.governor:
        yield f"governor {machine.governor}"
    if after.throttled is not None:
        yield f"throttling: {', '.join(after.throttled) or 'none'}"
    if after.power:
        yield f"on {after.power}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)
