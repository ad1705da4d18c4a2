"""What a benchmark found, as data; `docs/report.schema.json` documents it as JSON.

A report is complete: the terminal, Markdown and HTML are made of it alone, and two of them can be
compared without the bundles they were made of.
"""

import json
import re
from dataclasses import asdict, dataclass

from tinsmith_bench.estimate import Estimate
from tinsmith_bench.machine import Machine

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
        targets: `labels`, `values`, or `none` where only agreement can be told.
        labels: the class names, in the order of the outputs; none for values.
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
class Latency:
    """The distribution of the times of single calls, in microseconds.

    Attributes:
        min: the fastest.
        p50: the median.
        p90: the 90th percentile.
        p99: the 99th percentile.
        calls: how many were timed.
        percentiles: the 0th, 1st, … 100th.
        rounds_p50: the median of each round.
        rounds_p90: the 90th percentile of each round.
    """

    min: float
    p50: float
    p90: float
    p99: float
    calls: int
    percentiles: tuple[float, ...]
    rounds_p50: tuple[float, ...]
    rounds_p90: tuple[float, ...]


@dataclass(frozen=True)
class Throughput:
    """How much a variant does in batches.

    Attributes:
        batch: how many inputs a call gets.
        samples_per_s: inputs a second, from the median call.
    """

    batch: int
    samples_per_s: float


@dataclass(frozen=True)
class Speed:
    """How fast a variant is with so many threads.

    Attributes:
        threads: that its engine may use.
        latency_us: one input at a time, from raw input to label (or values): all that a user waits
            for.
        engine_us: the engine alone, from encoded input to raw output.
        paced_us: as `latency_us`, but so many calls a second as `method.rate_hz` says.
        late: share of the paced calls that took longer than the time between two of them.
        throughput: in batches.
    """

    threads: int
    latency_us: Latency
    engine_us: Latency
    paced_us: Latency | None
    late: float | None
    throughput: tuple[Throughput, ...]


@dataclass(frozen=True)
class ClassAccuracy:
    """One class.

    Attributes:
        label: its name.
        samples: how many it has.
        correct: how many of them the variant gets right.
        correct_float: how many the float model gets right; `None` for the float model itself.
    """

    label: str
    samples: int
    correct: int
    correct_float: int | None


@dataclass(frozen=True)
class Accuracy:
    """How right a classifier is.

    Attributes:
        correct: samples it gets right.
        top1: their share, 0 to 1, with its Wilson interval at 95 %.
        topk: share of samples whose class is among the `method.top_k` first guesses; likewise.
        wrong: the samples it gets wrong, by their index.
        classes: each class by itself.
        confusion: `(class, guess, count)` wherever the count is not 0.
    """

    correct: int
    top1: Estimate
    topk: Estimate
    wrong: tuple[int, ...]
    classes: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Regression:
    """How far values are from their targets.

    Attributes:
        mae: mean absolute error, with its bootstrap interval at 95 % over the samples.
        rmse: root mean square error.
    """

    mae: Estimate
    rmse: float


@dataclass(frozen=True)
class Flip:
    """A sample that the float model and a variant see differently.

    Attributes:
        index: of the sample.
        label: its class; `None` where it is not known.
        was: the float model's guess.
        now: the variant's guess.
        shape: of `pixels`, `(H, W, C)`; empty for features.
        pixels: the image, uint8 in C order, in base64; empty for features.
    """

    index: int
    label: int | None
    was: int
    now: int
    shape: tuple[int, ...]
    pixels: str


@dataclass(frozen=True)
class Closeness:
    """How close one of several outputs is to the float model's.

    Attributes:
        name: the output's.
        mae: mean absolute difference.
        sqnr_db: signal-to-quantization-noise ratio in dB; `None` where there is no difference.
        cosine: mean cosine similarity of a sample's.
    """

    name: str
    mae: float
    sqnr_db: float | None
    cosine: float


@dataclass(frozen=True)
class Fidelity:
    """How close a variant's outputs are to those of the float model.

    Attributes:
        baseline: the id of the float variant.
        agreement: share of samples put in the same class, with its Wilson interval at 95 %; `None`
            for values.
        flipped: how many were not.
        flips: the first of these.
        mae: mean absolute difference of the outputs; of several, of the one that is furthest from
            float by its SQNR, as the next two.
        sqnr_db: signal-to-quantization-noise ratio in dB; `None` where there is no difference.
        cosine: mean cosine similarity of the outputs of a sample.
        outputs: each of several outputs by itself; none where there is one.
    """

    baseline: str
    agreement: Estimate | None
    flipped: int
    flips: tuple[Flip, ...]
    mae: float
    sqnr_db: float | None
    cosine: float
    outputs: tuple[Closeness, ...] = ()


@dataclass(frozen=True)
class ColdStart:
    """Costs of a fresh process: the median of the runs, from the lowest to the highest.

    Attributes:
        runs: how many processes were started.
        interpreter_ms: from starting the process to the first line of Python.
        import_ms: importing the runtime, numpy included.
        load_ms: loading the bundle and the engine, its import included.
        first_ms: the first prediction.
        start_ms: these four together.
        peak_rss_bytes: the most physical memory that the process held.
    """

    runs: int
    interpreter_ms: Estimate
    import_ms: Estimate
    load_ms: Estimate
    first_ms: Estimate
    start_ms: Estimate
    peak_rss_bytes: Estimate


@dataclass(frozen=True)
class Variant:
    """What was measured of one variant: a model file on its engine.

    Attributes:
        id: `int8-tflite`; `a/int8-tflite` where several bundles were measured.
        bundle: the name of its bundle.
        name: for a person: `int8 on LiteRT`.
        engine: `litert`, `onnx`, …
        engine_version: name and version.
        precision: `int8`, `float`, …
        file: the model file.
        size_bytes: of that file.
        accuracy: of a classifier; `None` without labels.
        regression: of a regressor; `None` without targets.
        fidelity: to the bundle's float model; `None` for the float model itself, or without one.
        speeds: one for each of `method.threads`, in that order.
        cold_start: of fresh processes; `None` where it cannot be started by itself.
    """

    id: str
    bundle: str
    name: str
    engine: str
    engine_version: str
    precision: str
    file: str
    size_bytes: int
    accuracy: Accuracy | None
    regression: Regression | None
    fidelity: Fidelity | None
    speeds: tuple[Speed, ...]
    cold_start: ColdStart | None

    @property
    def speed(self) -> Speed:
        """With the first of the numbers of threads that were asked for."""
        return self.speeds[0]


@dataclass(frozen=True)
class SpeedRatio:
    """One variant's time over another's with so many threads.

    Attributes:
        threads: that each engine may use.
        latency: ratio of the medians of `latency_us`, with its bootstrap interval at 95 %.
        engine: of the medians of `engine_us`, likewise.
        fastest: ratio of the fastest calls of `latency_us`, which nothing disturbed.
    """

    threads: int
    latency: Estimate
    engine: Estimate
    fastest: float

    def inverse(self) -> "SpeedRatio":
        """The same the other way round."""
        return SpeedRatio(
            self.threads, self.latency.inverse(), self.engine.inverse(), 1 / self.fastest
        )


@dataclass(frozen=True)
class Comparison:
    """One variant against another on the same inputs and in the same rounds.

    Attributes:
        candidate: the id of the one.
        baseline: the id of the other.
        speeds: one for each of `method.threads`, in that order.
        agreement: share of samples put in the same class; `None` for values.
        lost: samples that only the baseline gets right; `None` without labels.
        won: samples that only the candidate gets right; likewise.
        mcnemar_p: probability of a split at least so uneven if both were equally good; likewise.
        mae_ratio: of the mean absolute errors, with its bootstrap interval at 95 %; `None` without
            targets.
    """

    candidate: str
    baseline: str
    speeds: tuple[SpeedRatio, ...]
    agreement: float | None
    lost: int | None
    won: int | None
    mcnemar_p: float | None
    mae_ratio: Estimate | None

    @property
    def speed(self) -> SpeedRatio:
        """With the first of the numbers of threads that were asked for."""
        return self.speeds[0]

    def inverse(self) -> "Comparison":
        """The same the other way round."""
        return Comparison(
            self.baseline,
            self.candidate,
            tuple(ratio.inverse() for ratio in self.speeds),
            self.agreement,
            self.won,
            self.lost,
            self.mcnemar_p,
            self.mae_ratio and self.mae_ratio.inverse(),
        )


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
    """A rival that was asked for and not measured.

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
        failures: rivals that were asked for and not measured.
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

    def compare(self, candidate: str, baseline: str) -> Comparison:
        """Gives the comparison of two variants, by their ids, in that direction.

        Raises:
            KeyError: they are not both in the report.
        """
        for pair in self.comparisons:
            if (pair.candidate, pair.baseline) == (candidate, baseline):
                return pair
            if (pair.candidate, pair.baseline) == (baseline, candidate):
                return pair.inverse()
        raise KeyError(f"{candidate} against {baseline}")

    def to_json(self) -> str:
        """Writes the report as JSON, `schema_version` first."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1)
        return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
