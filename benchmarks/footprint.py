"""How little the native engine takes: installed, and from a process's start to its prediction.

    tinsmith export model.keras --data mnist --targets native --out small.tin
    tinsmith export model.keras --data mnist --targets native,tflite --out digits.tin
    python benchmarks/footprint.py small.tin digits.tin --write docs/native.md

The first bundle holds a plan alone, the second the same plan and LiteRT's file. The runtime and
tinsmith-native are installed into an environment of their own, which takes numpy and LiteRT from
this one; the program of `docs/how-to/c.md` is built with CMake and a C compiler. Each run is a
fresh process, programs take turns, and the first run of each is not counted. Linux alone.

Exit status 1: a limit does not hold; the table says which.
"""

import argparse
import math
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from pages import write_between
from startup import LITERT, RUNTIME, run
from tinsmith_runtime import Bundle, TinsmithError, UsageError, read_bundle

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "runtime" / "native"
SOURCES = {"the runtime": ROOT / "runtime", "tinsmith-native": NATIVE}
PIXELS = """
from tinsmith_runtime import load
import tinsmith_native.backend
imported()
load({bundle!r}, "native").classify(memoryview(bytes({size})))
"""
STATIC, SHARED = "C, all of it static", "C, libtinsmith.so"
LITERT_NAME, PIXELS_NAME = "Python, LiteRT, shortest script", "Python, native, bare pixels"
ARRAYS_NAME = "Python, native, numpy arrays"
MOST_MB, MOST_C_MS, MOST_C_MB, MOST_RATIO = 1.5, 5.0, 3.0, 0.8


@dataclass(frozen=True)
class Cost:
    """What the runs of one program took.

    Attributes:
        best_ms: the fastest, from the process's start to its prediction; a C program's to its end.
        median_ms: the median.
        peak_mb: the most memory that was resident, 10^6 bytes.
    """

    best_ms: float
    median_ms: float
    peak_mb: float


@dataclass(frozen=True)
class Limit:
    """What a number may be at most."""

    what: str
    most: float
    found: float

    @property
    def holds(self) -> bool:
        """Whether it is."""
        return self.found <= self.most


def measure(
    programs: Mapping[str, Callable[[], tuple[float, float]]], runs: int
) -> dict[str, Cost]:
    """Runs programs in turn; each gives its milliseconds and its peak memory in MB."""
    found = [[one() for one in programs.values()] for _ in range(runs + 1)][1:]
    costs = {}
    for name, same in zip(programs, zip(*found, strict=True), strict=True):
        times, peaks = zip(*same, strict=True)
        costs[name] = Cost(min(times), median(times), max(peaks))
    return costs


def limits(sizes: Mapping[str, int], costs: Mapping[str, Cost]) -> list[Limit]:
    """The limits, and what was measured."""
    native, litert = costs[PIXELS_NAME], costs[LITERT_NAME]
    programs = costs[STATIC], costs[SHARED]
    return [
        Limit("installed, MB", MOST_MB, sum(sizes.values()) / 1e6),
        Limit("C, ms", MOST_C_MS, max(one.best_ms for one in programs)),
        Limit("C, MB", MOST_C_MB, max(one.peak_mb for one in programs)),
        Limit("Python, of LiteRT's time", MOST_RATIO, native.best_ms / litert.best_ms),
        Limit("Python, of LiteRT's memory", MOST_RATIO, native.peak_mb / litert.peak_mb),
    ]


def page(sizes: Mapping[str, int], costs: Mapping[str, Cost], runs: int) -> str:
    """What `--write` writes: how it was measured, and the tables."""
    from importlib.metadata import version

    from tinsmith_runtime.cpu import read_cpu

    versions = ", ".join(f"{name} {version(name)}" for name in ("ai-edge-litert", "numpy"))
    parts = ", ".join(f"{name} {size / 1e3:,.0f}" for name, size in sizes.items())
    lines = [
        f"""\
Measured by `benchmarks/footprint.py` on {read_cpu()}, Python {sys.version.split()[0]}, {versions},
on a machine that others use at the same time: {runs} fresh processes of each program, in turn. Time
is from the start of a process to its first prediction, of the C program to its end; memory is the
most that was resident. "Bare pixels" is `load(...).classify(memoryview(...))`, which does without
numpy.

| program | fastest, ms | median, ms | peak memory, MB |
| :-- | --: | --: | --: |"""
    ]
    for name, cost in costs.items():
        lines.append(f"| {name} | {cost.best_ms:.1f} | {cost.median_ms:.1f} | {cost.peak_mb:.1f} |")
    lines.append(
        f"\nFiles take, in kB: {parts}. Python's compiled modules are among them, numpy is not."
    )
    lines.append("\n| limit | at most | measured | holds |\n| :-- | --: | --: | :-- |")
    for one in limits(sizes, costs):
        word = "yes" if one.holds else "**no**"
        lines.append(f"| {one.what} | {one.most:g} | {one.found:.2f} | {word} |")
    return "\n".join(lines) + "\n"


def _type(*words: object) -> None:
    """Runs a command, and ends with what it says if it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise TinsmithError(f"{words[0]}: {(done.stderr or done.stdout).strip()}")


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def install(folder: Path) -> tuple[str, dict[str, int]]:
    """Installs the runtime and tinsmith-native; gives the interpreter, and how large each is."""
    _type(sys.executable, "-m", "venv", "--without-pip", folder)
    python, sizes = folder / "bin" / "python", {}
    for name, source in SOURCES.items():
        before = _bytes_in(folder)
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
        _type(*pip, "--compile", source)
        sizes[name] = _bytes_in(folder) - before
    (packages,) = folder.glob("lib/*/site-packages")
    found = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(found))
    return str(python), sizes


def build(folder: Path) -> dict[str, Path]:
    """Builds `docs/how-to/c.md`'s program in both ways, and `launch`, which runs it."""
    library = folder / "build"
    _type("cmake", "-S", NATIVE, "-B", library)
    _type("cmake", "--build", library)
    digit = [NATIVE / "example" / "digit.c", f"-I{NATIVE / 'include'}"]
    shared = [f"-L{library}", "-ltinsmith", f"-Wl,-rpath,{library}"]
    ways = {
        STATIC: [*digit, library / "libtinsmith.a", "-lm", "-pthread", "-static"],
        SHARED: [*digit, *shared],
        "launch": [Path(__file__).with_name("launch.c"), "-static"],
    }
    for name, words in ways.items():
        _type(sysconfig.get_config_var("CC").split()[0], "-O2", *words, "-o", folder / name)
    return {name: folder / name for name in ways}


def _launch(*words: object) -> tuple[float, float]:
    line = [str(word) for word in words]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise TinsmithError(f"{line[1]}: {done.stderr.strip() or 'it did not start'}")
    us, peak_kib = done.stdout.split()[-2:]
    return int(us) / 1e3, int(peak_kib) * 1024 / 1e6


def _python(program: str, python: str) -> tuple[float, float]:
    ms, _, peak_mb = run(program, python)
    return ms, peak_mb


def compare(small: Path, bundle: Bundle, runs: int) -> tuple[dict[str, int], dict[str, Cost]]:
    """Installs and builds everything; gives its sizes in bytes, and what its runs took."""
    shape = bundle.manifest.input.sample_shape
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, sizes = install(folder / "installed")
        c = build(folder)
        image, model = folder / "image.pgm", folder / "model.tflite"
        image.write_bytes(b"P5\n%d %d\n255\n" % (shape[1], shape[0]) + bytes(math.prod(shape)))
        model.write_bytes(bundle.files["model.int8.tflite"])
        values = {"bundle": str(small.resolve()), "size": math.prod(shape), "shape": (1, *shape)}
        arrays = {**values, "module": "tinsmith_native.backend", "backend": "native"}
        scripts = {
            PIXELS_NAME: PIXELS.format(**values),
            ARRAYS_NAME: RUNTIME.format(**arrays, dtype="uint8"),
            LITERT_NAME: LITERT.format(**values, model=str(model)),
        }
        programs = {
            way: partial(_launch, c["launch"], c[way], small, image) for way in (STATIC, SHARED)
        }
        programs |= {way: partial(_python, text, python) for way, text in scripts.items()}
        costs = measure(programs, runs)
    return {**sizes, "the bundle": small.stat().st_size}, costs


def read_pair(small: Path, both: Path) -> Bundle:
    """Reads the bundles; gives the second.

    Raises:
        UsageError: they are not what this compares.
    """
    plan, bundle = read_bundle(small), read_bundle(both)
    missing = {"model.int8.plan", "model.int8.tflite"} - bundle.files.keys()
    if missing:
        raise UsageError(f"{both}: expected {min(missing)}: export with --targets native,tflite")
    if plan.files.get("model.int8.plan") != bundle.files["model.int8.plan"]:
        raise UsageError(f"{small}: expected the plan of {both}: export both from one model")
    if bundle.manifest.input.kind != "image" or bundle.manifest.input.sample_shape[2:] != (1,):
        raise UsageError(f"{both}: expected a model of grey images")
    return bundle


def main(words: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("small", type=Path, help="a bundle with a plan alone, a .tin file")
    parser.add_argument("both", type=Path, help="one with the same plan and a TFLite file")
    parser.add_argument("--runs", type=int, default=40, help="of each program (default 40)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables there too")
    arguments = parser.parse_args(words)
    try:
        if arguments.runs < 1:
            raise UsageError(f"--runs: expected a number from 1, got {arguments.runs}")
        bundle = read_pair(arguments.small, arguments.both)
        sizes, costs = compare(arguments.small, bundle, arguments.runs)
        text = page(sizes, costs, arguments.runs)
        print(text)
        if arguments.write:
            write_between(arguments.write, "benchmarks/footprint.py", text)
    except TinsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0 if all(one.holds for one in limits(sizes, costs)) else 1


if __name__ == "__main__":
    sys.exit(main())
