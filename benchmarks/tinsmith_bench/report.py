"""What a benchmark found, as data; `benchmarks/README.md` documents it as JSON, field by field."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tinsmith_bench.accuracy import Estimate
from tinsmith_bench.coldstart import ColdStart
from tinsmith_bench.latency import Latency
from tinsmith_bench.machine import Machine
from tinsmith_runtime import UsageError

ENGINE_NAMES = {"litert": "LiteRT", "onnx": "ONNX Runtime"}
# Grows when a field changes its name or meaning, not when one is added.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class DatasetInfo:
    """The test set: its name, the sha256 of its source, how many images."""

    name: str
    sha256: str
    images: int


@dataclass(frozen=True)
class Method:
    """How it was measured: enough to do it again.

    Attributes:
        threads: that an engine may use.
        rounds: in each, every variant is timed once, in a new random order.
        calls_per_round: single images timed in a variant's turn.
        batch: images a call when throughput is measured.
        cold_starts: fresh processes started for each variant.
        seed: of the order, the images and the bootstrap.
    """

    threads: int
    rounds: int
    calls_per_round: int
    batch: int
    cold_starts: int
    seed: int


@dataclass(frozen=True)
class Row:
    """What was measured of one variant on its engine.

    Attributes:
        backend: `litert` or `onnx`.
        precision: `int8` or `float`.
        file: the model file in the bundle.
        size_bytes: of that file.
        correct: how many test images it got right.
        accuracy: top-1, 0 to 1, with its Wilson interval at 95 %.
        agreement: share of images put in the same class as by the float variant on the same
            engine; `None` without one.
        latency_us: single images, from uint8 pixels to probabilities.
        images_per_s: in batches, from the median batch.
        cold_start: of fresh processes.
    """

    backend: str
    precision: str
    file: str
    size_bytes: int
    correct: int
    accuracy: Estimate
    agreement: float | None
    latency_us: Latency
    images_per_s: float
    cold_start: ColdStart

    @property
    def name(self) -> str:
        """The variant's name for a person: `int8 on LiteRT`."""
        return f"{self.precision} on {ENGINE_NAMES[self.backend]}"


@dataclass(frozen=True)
class Comparison:
    """One variant against another on the same images and in the same rounds.

    Attributes:
        candidate: the file of the one.
        baseline: the file of the other.
        p50_ratio: candidate's p50 latency over the baseline's, with its bootstrap interval at 95 %.
        min_ratio: the ratio of their fastest calls, which nothing disturbed.
        lost: test images that only the baseline gets right.
        won: test images that only the candidate gets right.
        mcnemar_p: probability of a split at least so uneven if both were equally good.
    """

    candidate: str
    baseline: str
    p50_ratio: Estimate
    min_ratio: float
    lost: int
    won: int
    mcnemar_p: float


@dataclass(frozen=True)
class Report:
    """A whole benchmark.

    Attributes:
        tinsmith: the version that measured.
        created: date and time, ISO 8601, UTC.
        bundle: the file's name.
        machine: what it ran on.
        dataset: what it ran.
        method: how it was measured.
        rows: one a variant.
        comparisons: every variant against every other, once for each direction.
        notes: what the reader must know besides: an engine that is missing, a disturbed run.
        verdict: what int8 gains and loses here, in words, and what to ship.
    """

    tinsmith: str
    created: str
    bundle: str
    machine: Machine
    dataset: DatasetInfo
    method: Method
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    notes: Sequence[str]
    verdict: Sequence[str]

    def json(self) -> str:
        """Writes the report as JSON, `schema_version` first."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=2) + "\n"


def check_writable(path: Path) -> None:
    """Checks that a report can go to `path`, before the minute that it takes to make it.

    Raises:
        UsageError: the folder is missing, or `path` is one or no name for a file.
    """
    try:
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise UsageError(f"{path}: expected a file, got a folder")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Writes beside `path` and renames into it, so that nobody reads half a report.

    Raises:
        UsageError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
