r"""How fast libtinsmith is beside other engines, on the same models, call by call.

    tinsmith export vww.keras --data photos --targets tflite,onnx,native --out vww.tin
    python benchmarks/native.py vww=vww.tin cnn=runs/demo/digits.tin --write docs/native.md
    python benchmarks/native.py vww=vww.tin --profile

A model is NAME=BUNDLE, with files for tflite, onnx and native; one input and one output. OpenVINO
is compared where it is installed. Engines take turns in random order, in one process; the table has
the fastest call and the median. The fastest is what is compared: on a machine that does other
things too, it is what comes back the same. Weights do not matter but for how they are spread:
`untrained.py` makes two models of MLPerf Tiny with random ones.
"""

import argparse
import gc
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import Engine, open_engines
from kernels import Kernels
from pages import table_head, write_between
from tinsmith_bench.timing.latency import interleave
from tinsmith_export.targets.native.plan import Kind, read_plan
from tinsmith_runtime import TinsmithError, UsageError, read_bundle

LEAD_CALLS, TURN_NS, MIN_CALLS, MAX_CALLS = 3, 5_000_000, 3, 100
CHECKED, LONG_NS = 50, 1_000_000
_FILES = tuple(
    f"model.{name}"
    for name in ("float.tflite", "int8.tflite", "float.onnx", "int8.onnx", "int8.plan")
)


@dataclass(frozen=True)
class Times:
    """The calls of one engine.

    Attributes:
        best_us: the fastest.
        median_us: the median.
        equal: whether its codes are LiteRT's on all inputs that were tried; `None` of floats.
    """

    best_us: float
    median_us: float
    equal: bool | None


def measure(
    engines: Sequence[Engine], equal: Mapping[str, bool | None], rounds: int, alone: bool = False
) -> dict[str, Times]:
    """Times engines in turns of a few milliseconds, in a new random order in each round.

    A call of more than a millisecond seldom has a CPU of a busy machine to itself all the time.
    With `alone`, the processor time of this process is what counts then.
    """
    times: dict[str, list[int]] = {engine.name: [] for engine in engines}
    rng = np.random.default_rng(0)
    begun = perf_counter_ns()
    engines[-1].call()
    clock = process_time_ns if alone and perf_counter_ns() - begun > LONG_NS else perf_counter_ns
    gc.disable()
    for _, engine in interleave(list(engines), rounds, rng):
        for _ in range(LEAD_CALLS):
            begun = clock()
            engine.call()
            once = clock() - begun
        for _ in range(min(max(TURN_NS // max(once, 1), MIN_CALLS), MAX_CALLS)):
            begun = clock()
            engine.call()
            times[engine.name].append(clock() - begun)
    gc.enable()
    return {
        name: Times(min(found) / 1e3, float(np.median(found)) / 1e3, equal[name])
        for name, found in times.items()
    }


def equal_to_litert(engines: Sequence[Engine], shape: tuple[int, ...]) -> dict[str, bool | None]:
    """Whether each engine of int8 gives LiteRT's codes on random inputs; `None` of floats.

    Raises:
        TinsmithError: native does not.
    """
    rng = np.random.default_rng(1)
    inputs = [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(CHECKED)]
    answers = {
        engine.name: [engine.answer(codes) for codes in inputs] if engine.answer else None
        for engine in engines
    }
    wanted = answers["LiteRT int8"]
    found = {
        name: None if codes is None else np.asarray(codes).tobytes() == np.asarray(wanted).tobytes()
        for name, codes in answers.items()
    }
    if not found[engines[-1].name]:
        raise TinsmithError("native does not give LiteRT's codes")
    return found


def macs_of(plan: bytes) -> int:
    """Multiply-accumulates of a plan's products."""
    read = read_plan(plan)
    return sum(
        len(operator.constants[0]) * math.prod(read.tensors[operator.output].shape[:-1])
        for operator in read.operators
        if operator.kind == Kind.PRODUCT
    )


def random_codes(plan: bytes) -> NDArray[np.int8]:
    """An input of a plan, `int8 (1, ...)`.

    Raises:
        UsageError: it has several inputs or outputs.
    """
    read = read_plan(plan)
    if len(read.inputs) != 1 or len(read.outputs) != 1:
        raise UsageError("expected a model with one input and one output")
    shape = 1, *read.tensors[read.inputs[0].tensor].shape
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)


@dataclass(frozen=True)
class Row:
    """A model with so many threads; `times` has native last."""

    model: str
    threads: int
    macs: int
    times: Mapping[str, Times]

    @property
    def native(self) -> Times:
        """Ours."""
        return list(self.times.values())[-1]

    def gain(self, exact: bool) -> float:
        """How many times as fast native is as the best other engine, or the best exact int8 one."""
        others = list(self.times.values())[:-1]
        return min(one.best_us for one in others if one.equal or not exact) / self.native.best_us

    def rate(self) -> float:
        """Multiply-accumulates a nanosecond."""
        return self.macs / self.native.best_us / 1e3


def table(rows: Sequence[Row], peak: float) -> str:
    """The rows as Markdown, and the geometric means."""
    names = list(rows[0].times)
    columns = ["model", "MMAC", "threads", *names, "MAC/ns", "of peak", "best other", "best exact"]
    lines = table_head(columns)
    for row in rows:
        fastest = min(one.best_us for one in row.times.values())
        cells = [row.model, f"{row.macs / 1e6:.2f}", str(row.threads)]
        for one in row.times.values():
            bold = "**" * (one.best_us == fastest)
            unequal = " ≠" * (one.equal is False)
            cells.append(f"{bold}{_short(one.best_us)}{bold} ({_short(one.median_us)}){unequal}")
        share = f"{100 * row.rate() / peak / row.threads:.0f} %" if peak else "-"
        cells += [f"{row.rate():.1f}", share, f"{row.gain(False):.2f}", f"{row.gain(True):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for threads in dict.fromkeys(row.threads for row in rows):
        same = [row for row in rows if row.threads == threads]
        means = [
            np.exp(np.mean([np.log(row.gain(exact)) for row in same])) for exact in (False, True)
        ]
        cells = ["geometric mean", "", str(threads), *[""] * (len(names) + 2)]
        lines.append(f"| {' | '.join([*cells, *(f'{mean:.2f}' for mean in means)])} |")
    return "\n".join(lines)


def _short(us: float) -> str:
    return f"{us:.1f}" if us < 100 else f"{us:,.0f}"


def page(rows: Sequence[Row], peak: float, rounds: int) -> str:
    """What `--write` writes: how it was measured, and the table."""
    from importlib.metadata import version

    from tinsmith_runtime.cpu import read_cpu

    packages = ["ai-edge-litert", "onnxruntime"]
    packages += ["openvino"] * any("OpenVINO" in name for name in rows[0].times)
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    most = f"{peak:.1f} MAC/ns a core, in registers, in the same run" if peak else "not known"
    text = f"""\
Measured by `benchmarks/native.py` on {read_cpu()}, {versions}, on a machine that others use at the
same time: µs of the fastest call, and of the median in brackets, of one sample; {rounds} turns of
each engine in random order, in one process. With one thread, calls of more than a millisecond count
by the processor time of the process. "≠": its codes are not LiteRT's on {CHECKED} random
inputs. The peak of this CPU's integer multiplications: {most}. "Best other" is how many times as
fast native is as the fastest other engine of the row, float or int8; "best exact" as the fastest
int8 engine whose codes are LiteRT's. "exact" is ONNX Runtime's option that tinsmith sets: kernels
that cannot overflow. The keyword model and the autoencoder have random weights."""
    return f"{text}\n\n{table(rows, peak)}\n"


def profile(model: str, plan: bytes, threads: int, calls: int) -> str:
    """Each operator of a plan: its kernel, and the least time that it took."""
    from tinsmith_native.backend import NativeBackend

    backend = NativeBackend(plan, threads)
    codes = np.zeros((1, *backend.inputs[0].shape), np.int8)
    found = [backend.profile(codes) for _ in range(calls)]
    best = [min(one.time_us or 0.0 for one in same) for same in zip(*found, strict=True)]
    lines = [f"{model}: {sum(best):.1f} µs"]
    for operator, time in zip(found[0], best, strict=True):
        lines.append(f"{time:9.2f}  {operator.kind:32}  {operator.name}")
    return "\n".join(lines)


def bundles(words: Sequence[str]) -> dict[str, Mapping[str, bytes]]:
    """The files of each bundle that a user names.

    Raises:
        UsageError: a word names none, or the bundle lacks a file.
    """
    found = {}
    for word in words:
        name, _, path = word.partition("=")
        if not name or not path:
            raise UsageError(f"{word}: expected NAME=BUNDLE")
        files = read_bundle(path).files
        missing = [file for file in _FILES if file not in files]
        if missing:
            raise UsageError(
                f"{path} has no {missing[0]}: export with --targets tflite,onnx,native"
            )
        found[name] = files
    return found


def main() -> int:
    """Prints the table, or where the time goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="NAME=BUNDLE")
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default 1,2)")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each (default 60)")
    parser.add_argument("--profile", action="store_true", help="native's operators instead")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table there too")
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except TinsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _run(arguments: Any) -> int:
    threads = [int(word) for word in arguments.threads.split(",") if word.isdecimal()]
    if not threads or min(threads) < 1 or arguments.rounds < 1:
        raise UsageError("--threads, --rounds: expected numbers of 1 or more")
    found, rows = bundles(arguments.models), []
    if arguments.profile:
        for name, files in found.items():
            print(profile(name, files["model.int8.plan"], threads[0], 20 * arguments.rounds))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        kernels = Kernels(Path(folder))
        isa, peak = kernels.detected(), kernels.peak()
        for count in threads:
            for name, files in found.items():
                plan = files["model.int8.plan"]
                codes = random_codes(plan)
                engines = list(open_engines(files, codes, count, f"native ({isa})"))
                equal = equal_to_litert(engines, codes.shape)
                times = measure(engines, equal, arguments.rounds, alone=count == 1)
                rows.append(Row(name, count, macs_of(plan), times))
                print(f"{name}, {count} threads: {rows[-1].gain(False):.2f}", file=sys.stderr)
        peak = max(peak, kernels.peak())
    text = page(rows, peak, arguments.rounds)
    print(text)
    if arguments.write:
        write_between(arguments.write, "benchmarks/native.py", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
