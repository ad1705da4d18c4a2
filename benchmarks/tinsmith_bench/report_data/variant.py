"""What was measured of one variant."""

from dataclasses import dataclass

from tinsmith_bench.report_data.detection import Detection
from tinsmith_bench.report_data.estimate import Estimate


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
        baseline: the id of the float variant: on the same engine, else the fastest.
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
        detection: of a detector; `None` without true boxes.
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
    detection: Detection | None = None

    @property
    def speed(self) -> Speed:
        """With the first of the numbers of threads that were asked for."""
        return self.speeds[0]
