"""The benchmark itself: every variant of a bundle, on every engine that is installed here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.accuracy import agreement, mcnemar, wilson
from tinsmith_bench.coldstart import ColdStart, run_probe, summarize_runs
from tinsmith_bench.latency import interleave, measure, p50_ratio, summarize
from tinsmith_bench.machine import describe_machine
from tinsmith_bench.report import ENGINE_NAMES, Comparison, DatasetInfo, Method, Report, Row
from tinsmith_bench.samples import Samples, find_samples
from tinsmith_bench.verdict import verdict
from tinsmith_runtime import (
    BackendError,
    Bundle,
    Model,
    UsageError,
    Variant,
    installed_backends,
    open_model,
    read_bundle,
)

BACKEND_OF_FORMAT = {"tflite": "litert", "onnx": "onnx"}
PRECISIONS = ("float", "int8")
CALLS_PER_ROUND = 50
BATCH = 32
# A batch of 32 lasts as long as dozens of single images: two a round are plenty for a median.
BATCHES_PER_ROUND = 2
COLD_STARTS = 5
# On a quiet machine the p50 was at most 1.06 times the fastest call, next to others up to 1.7.
DISTURBED = 1.25

Watch = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""

Timings = NDArray[np.int64]


def unwatched(what: str, done: int, total: int) -> None:
    """Watches nothing."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The raw measurements of one variant.

    Attributes:
        variant: what was measured.
        classes: the class it puts each test image in, `(N,)`.
        singles: the durations of single images in ns, `(rounds, calls)`.
        batches: the durations of batches in ns, `(rounds, calls)`.
        start: what fresh processes cost.
    """

    variant: Variant
    classes: NDArray[np.intp]
    singles: Timings
    batches: Timings
    start: ColdStart


def bench(
    path: str | Path,
    dataset: str | None = None,
    data: Path | None = None,
    data_dir: Path | None = None,
    *,
    threads: int = 1,
    rounds: int = 100,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Report:
    """Measures a bundle on this machine.

    Args:
        path: the bundle.
        dataset: the name of the dataset to test on; the one that the bundle was trained on if
            neither this nor `data` is given.
        data: an `.npz` file with `x_test` and `y_test` (or `x` and `y`) to test on instead.
        data_dir: where the files of `dataset` are.
        threads: how many threads an engine may use.
        rounds: how often every variant gets its turn; the time it takes grows with it.
        seed: of the order of the turns, the images and the bootstrap.
        watch: is told how far the benchmark has come.

    Raises:
        UsageError: an argument is wrong, or the test set is missing or does not fit.
        TinsmithError: the bundle is damaged, or no engine for it is installed.
    """
    if rounds < 2 or threads < 1 or seed < 0:
        raise UsageError(
            "expected at least 2 rounds, 1 thread and a seed from 0, "
            f"got {rounds} rounds, {threads} threads and seed {seed}"
        )
    path = Path(path)
    bundle = read_bundle(path)
    samples = find_samples(bundle.manifest, dataset, data, data_dir)
    method = Method(threads, rounds, CALLS_PER_ROUND, BATCH, min(COLD_STARTS, rounds), seed)
    with ExitStack() as stack:
        models = [stack.enter_context(model) for model in _open_models(bundle, threads)]
        machine = describe_machine({model.backend: model.engine_version for model in models})
        classes = _classify(models, samples.images, watch)
        singles, batches = _time(models, samples.images, method, watch)
    variants = [model.variant for model in models]
    starts = _start(variants, path, method, watch)
    measured = [
        Measured(v, classes[v.file], singles[v.file], batches[v.file], starts[v.file])
        for v in variants
    ]
    rows = [_row(one, measured, samples.labels) for one in measured]
    comparisons = [
        _compare(one, other, samples.labels, seed) for one, other in permutations(measured, 2)
    ]
    return Report(
        tinsmith=version("tinsmith"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bundle=path.name,
        machine=machine,
        dataset=DatasetInfo(samples.name, samples.sha256, len(samples.images)),
        method=method,
        rows=rows,
        comparisons=comparisons,
        notes=list(_notes(bundle, samples, rows)),
        verdict=verdict(rows, comparisons),
    )


def _open_models(bundle: Bundle, threads: int) -> Iterator[Model]:
    """Loads what the bundle holds for the installed engines, float before int8."""
    held = {_key(variant) for variant in bundle.manifest.variants}
    keys = [(backend, precision) for backend in ENGINE_NAMES for precision in PRECISIONS]
    installed = installed_backends()
    if not any(backend in installed for backend, _ in held):
        needed = sorted({backend for backend, _ in held})
        extras = " or ".join(f"'tinsmith-runtime[{backend}]'" for backend in needed)
        raise BackendError(f"no engine for this bundle is installed: pip install {extras}")
    for backend, precision in keys:
        if backend in installed and (backend, precision) in held:
            yield open_model(bundle, backend, threads, precision)


def _key(variant: Variant) -> tuple[str, str]:
    return BACKEND_OF_FORMAT[variant.format], variant.precision


def _classify(
    models: Sequence[Model], images: NDArray[np.uint8], watch: Watch
) -> dict[str, NDArray[np.intp]]:
    """The class that each variant puts each image in, by the variant's file."""
    classes = {model.variant.file: np.empty(len(images), np.intp) for model in models}
    for number, model in enumerate(models):
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            # Raw outputs: the activation keeps their order, but may round two of them to be equal.
            top = model.predict_raw(part).argmax(axis=1)
            classes[model.variant.file][start : start + BATCH] = top
            done = number * len(images) + start + len(part)
            watch("accuracy", done, len(models) * len(images))
    return classes


def _time(
    models: Sequence[Model], images: NDArray[np.uint8], method: Method, watch: Watch
) -> tuple[dict[str, Timings], dict[str, Timings]]:
    """Timings of single images, then of batches; by the variant's file."""
    predict = {model.variant.file: model.predict for model in models}
    time = partial(
        measure, predict, images, rounds=method.rounds, rng=np.random.default_rng(method.seed)
    )
    return (
        time(batch=1, calls=CALLS_PER_ROUND, watch=partial(watch, "latency")),
        time(batch=BATCH, calls=BATCHES_PER_ROUND, watch=partial(watch, "throughput")),
    )


def _start(
    variants: Sequence[Variant], path: Path, method: Method, watch: Watch
) -> dict[str, ColdStart]:
    """Starts every variant in fresh processes, in turns; by the variant's file."""
    keys = {variant.file: _key(variant) for variant in variants}
    runs: dict[str, list[dict[str, float]]] = {file: [] for file in keys}
    order = interleave(list(keys), method.cold_starts, np.random.default_rng(method.seed))
    for done, (_, file) in enumerate(order, start=1):
        runs[file].append(run_probe(path, *keys[file], method.threads))
        watch("cold start", done, method.cold_starts * len(keys))
    return {file: summarize_runs(costs) for file, costs in runs.items()}


def _row(one: Measured, measured: Sequence[Measured], labels: NDArray[np.int64]) -> Row:
    backend, precision = _key(one.variant)
    baselines = [other for other in measured if _key(other.variant) == (backend, "float")]
    correct = int(np.count_nonzero(one.classes == labels))
    return Row(
        backend=backend,
        precision=precision,
        file=one.variant.file,
        size_bytes=one.variant.size_bytes,
        correct=correct,
        accuracy=wilson(correct, len(labels)),
        agreement=agreement(one.classes, baselines[0].classes) if baselines else None,
        latency_us=summarize(one.singles),
        images_per_s=BATCH / (float(np.median(one.batches)) / 1e9),
        cold_start=one.start,
    )


def _compare(one: Measured, other: Measured, labels: NDArray[np.int64], seed: int) -> Comparison:
    mine, its = one.classes == labels, other.classes == labels
    lost, won = int(np.sum(~mine & its)), int(np.sum(mine & ~its))
    return Comparison(
        candidate=one.variant.file,
        baseline=other.variant.file,
        # The same seed for both directions, so that one ratio is the other's inverse.
        p50_ratio=p50_ratio(one.singles, other.singles, np.random.default_rng(seed)),
        min_ratio=float(one.singles.min() / other.singles.min()),
        lost=lost,
        won=won,
        mcnemar_p=mcnemar(lost, won),
    )


def _notes(bundle: Bundle, samples: Samples, rows: Sequence[Row]) -> Iterator[str]:
    """What a reader of the numbers must know besides."""
    held = {_key(variant) for variant in bundle.manifest.variants}
    for backend, name in ENGINE_NAMES.items():
        if backend not in installed_backends() and backend in {key[0] for key in held}:
            yield (
                f"{name} is not installed here, so its variants were not measured: "
                f"pip install 'tinsmith-runtime[{backend}]'."
            )
        elif (backend, "int8") in held and (backend, "float") not in held:
            yield f"The bundle holds no float model for {name}, so int8 is compared with nothing."
    training = bundle.manifest.training
    if samples.name == training.dataset and samples.sha256 != training.dataset_sha256:
        yield f"This is not the {samples.name} that the bundle was made with: its hash differs."
    worst = max(row.latency_us.p50 / row.latency_us.min for row in rows)
    if worst > DISTURBED:
        yield (
            f"Something else disturbed the timings: a p50 is {worst:.2f} times the fastest call. "
            "Measure again on a quiet machine before you believe the ratios."
        )
