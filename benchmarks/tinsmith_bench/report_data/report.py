"""What a benchmark found, as data; `docs/report.schema.json` documents it as JSON.

A report is complete: the terminal, Markdown and HTML are made of it alone, and two of them can be
compared without the bundles they were made of.
"""

import json
import re
from dataclasses import asdict, dataclass

from tinsmith_bench.report_data.comparison import Comparison
from tinsmith_bench.report_data.detection import BoxedImage
from tinsmith_bench.report_data.machine import Machine
from tinsmith_bench.report_data.variant import Variant

# Grows when a field changes its name or meaning, not when one is added.
SCHEMA_VERSION = 2
# A list of numbers takes a line, not a line each.
_NUMBERS = re.compile(r"\[\n([-+\d.,eE\s]+)\]")


@dataclass(frozen=True)
class BundleInfo:
    """A bundle that was measured.

    Attributes:
        name: what the report calls it: short, and different from the others; a letter where the
            files' names are not.
        file: the name of its file.
        sha256: of its manifest.
        model: the kind of model that was trained.
        recipe: how it was quantized.
    """

    name: str
    file: str
    sha256: str
    model: str
    recipe: str


@dataclass(frozen=True)
class Dataset:
    """What the bundles were tested on.

    Attributes:
        name: the dataset's, or the file's or folder's.
        sha256: of its content.
        samples: how many inputs.
        targets: `labels`, `values`, `boxes`, or `none` where only agreement can be told.
        labels: the class names, in the order of the outputs or scores; none for values.
        decode_us: median time to read and decode one image file; `None` where there were arrays.
    """

    name: str
    sha256: str
    samples: int
    targets: str
    labels: tuple[str, ...]
    decode_us: float | None


@dataclass(frozen=True)
class Method:
    """How it was measured: enough to do it again.

    Attributes:
        seed: of the order, the inputs and the bootstrap.
        rounds: in each, every variant is timed once a way, in a new random order.
        processes: that were started one after the other; each timed an equal part of the rounds,
            and is a block of the bootstrap.
        threads: that an engine may use; each was measured.
        batches: how many inputs a call got when throughput was measured.
        rate_hz: calls a second in the paced mode; `None` where that was not asked for.
        cold_starts: fresh processes started for each variant.
        top_k: how many guesses `topk` has.
        clock: the clock and its resolution, for a person.
        timer_overhead_ns: median time between two readings of the clock, contained in every timing.
    """

    seed: int
    rounds: int
    processes: int
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    rate_hz: float | None
    cold_starts: int
    top_k: int
    clock: str
    timer_overhead_ns: float

    @property
    def rounds_per_process(self) -> int:
        """How many rounds each process times."""
        return self.rounds // self.processes


@dataclass(frozen=True)
class Operator:
    """One operator as an engine runs it.

    Attributes:
        name: the node's, or its output's.
        kind: what the engine calls it: `QLinearConv`, `CONV_2D`.
        arithmetic: `integer`, `float`, or `mixed` where it turns one into the other.
        time_us: mean time a call; `None` where the engine does not tell.
        share: of the time of all operators; likewise.
    """

    name: str
    kind: str
    arithmetic: str
    time_us: float | None
    share: float | None


@dataclass(frozen=True)
class Profile:
    """Where a variant's time goes.

    Attributes:
        variant: its id.
        calls: single inputs that were computed for it.
        operators: in the order in which they run.
    """

    variant: str
    calls: int
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Failure:
    """A competitor that was asked for and not measured.

    Attributes:
        name: what was asked for.
        reason: why not, in a line.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """A whole benchmark.

    Attributes:
        tinsmith: the version that measured.
        created: date and time, ISO 8601, UTC.
        bundles: what was measured, at least one.
        machine: what it ran on.
        dataset: what it ran.
        method: how it was measured.
        variants: what was found, at least one, float before int8.
        comparisons: every two variants once, the one that comes later in `variants` against the
            one before it; `compare` gives either direction.
        warnings: why the numbers are to be doubted: a busy machine, a throttled one.
        notes: what the reader must know besides: an engine that is missing.
        verdict: what int8 gains and loses here, in words, and what to ship.
        profiles: where each variant's time goes; none where that was not asked for.
        failures: competitors that were asked for and not measured.
        images: the first images with their boxes, true and found; none without true boxes.
    """

    tinsmith: str
    created: str
    bundles: tuple[BundleInfo, ...]
    machine: Machine
    dataset: Dataset
    method: Method
    variants: tuple[Variant, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    verdict: tuple[str, ...]
    profiles: tuple[Profile, ...] = ()
    failures: tuple[Failure, ...] = ()
    images: tuple[BoxedImage, ...] = ()

    def compare(self, variant: str, reference: str) -> Comparison:
        """Gives the comparison of two variants, by their ids, in that direction.

        Raises:
            KeyError: they are not both in the report.
        """
        for pair in self.comparisons:
            if (pair.candidate, pair.baseline) == (variant, reference):
                return pair
            if (pair.candidate, pair.baseline) == (reference, variant):
                return pair.inverse()
        raise KeyError(f"{variant} against {reference}")

    def to_json(self) -> str:
        """Writes the report as JSON, `schema_version` first."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1)
        return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
