"""The benchmark itself: every variant of every bundle, on every engine that is installed here."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from time import monotonic

import numpy as np

from tinsmith_bench.candidate import (
    ENGINE_NAMES,
    Candidate,
    bundle_candidates,
    bundle_names,
)
from tinsmith_bench.coldstart import measure_starts
from tinsmith_bench.latency import POOL, Watch, clock, measure
from tinsmith_bench.limits import timing_limit_s
from tinsmith_bench.machine import Watchman, warnings
from tinsmith_bench.operators import profile
from tinsmith_bench.report import BundleInfo, Dataset, Method, Profile, Report, Variant
from tinsmith_bench.results import Measured, compare, describe
from tinsmith_bench.samples import Samples, find_samples
from tinsmith_bench.verdict import verdict
from tinsmith_data.limits import MAX_SEED, MOST, is_whole, require, require_real, require_whole
from tinsmith_runtime import Bundle, TinsmithError, UsageError, installed_backends, read_bundle
from tinsmith_runtime.batch import Arrays, concatenate, count, parts, rows
from tinsmith_runtime.bundle import ENGINE_OF_FORMAT, dump_manifest

BATCHES = (1, 8, 32)
CLASSIFY_BATCH = 32
# On a quiet machine the p50 was at most 1.06 times the fastest call, next to others up to 1.7.
DISTURBED = 1.25
# Far above what helps; an engine makes every thread, and a batch is held in memory, whatever it is.
MAX_THREADS, MAX_BATCH = 1024, 65_536
_LIMITS = (
    ("rounds", 2, 1_000_000),
    ("processes", 2, 10_000),
    ("cold_starts", 1, 10_000),
    ("top_k", 1, MOST),
    ("seed", 0, MAX_SEED),
    ("profile_calls", 0, 1_000_000),
)


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        threads: that an engine may use; each number is measured.
        rounds: how often every variant gets its turn; the time it takes grows with it.
        processes: that share the rounds; the intervals become narrower with more of them.
        batches: how many inputs a call gets when throughput is measured.
        rate_hz: if given, also measure that many calls a second.
        cold_starts: fresh processes for each variant.
        top_k: how many guesses of a classifier may be right, besides the first alone.
        seed: of the order of the turns, the inputs and the bootstrap.
        profile_calls: of each variant, to see where its time goes; 0 for no such look.
    """

    threads: tuple[int, ...] = (1,)
    rounds: int = 200
    processes: int = 20
    batches: tuple[int, ...] = BATCHES
    rate_hz: float | None = None
    cold_starts: int = 7
    top_k: int = 3
    seed: int = 0
    profile_calls: int = 0

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            UsageError: one cannot be; the message begins with its name.
        """
        for name, least, most in _LIMITS:
            require_whole(name, getattr(self, name), least, most)
        for name, most in (("threads", MAX_THREADS), ("batches", MAX_BATCH)):
            value = getattr(self, name)
            fits = isinstance(value, tuple | list) and bool(value)
            fits = fits and all(is_whole(number, 1, most) for number in value)
            require(fits, name, f"whole numbers from 1 to {most}", value)
        if self.rate_hz is not None:
            require_real("rate_hz", self.rate_hz, 0.1, 10_000)


QUICK = Options(rounds=48, processes=8, cold_starts=3)


def unwatched(what: str, done: int, total: int) -> None:
    """Watches nothing."""


def bench(
    paths: Sequence[Path],
    dataset: str | None = None,
    data: Path | None = None,
    data_dir: Path | None = None,
    *,
    samples: Samples | None = None,
    options: Options = Options(),
    rivals: Sequence[Candidate] = (),
    watch: Watch = unwatched,
) -> Report:
    """Measures bundles on this machine, side by side.

    Args:
        paths: the bundles, at least one.
        dataset: the name of the dataset to test on; the one that the first bundle was trained on
            if neither this nor `data` is given.
        data: an `.npz` file with `x_test` and `y_test` (or `x` and `y`), or a folder
            `data/LABEL/*.png`, to test on instead.
        data_dir: where the files of `dataset` are.
        samples: a test set that has been found already, instead of all these.
        options: how to measure.
        rivals: other variants to measure beside those of the bundles.
        watch: is told how far the benchmark has come.

    Raises:
        UsageError: an argument is wrong, or the test set is missing or does not fit.
        TinsmithError: a bundle is damaged, or no engine for it is installed.
    """
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("expected one bundle or several different ones")
    bundles = [read_bundle(path) for path in paths]
    if samples is None:
        manifests = [bundle.manifest for bundle in bundles]
        samples = find_samples(manifests, dataset, data, data_dir)
    method = _method(options, bundles)
    names = bundle_names(paths)
    candidates = [
        candidate
        for name, path, bundle in zip(names, paths, bundles, strict=True)
        for candidate in bundle_candidates(name, path, bundle, name if len(names) > 1 else "")
    ]
    candidates += rivals
    watchman = Watchman()
    measured = _measure(candidates, samples.inputs, method, watch)
    machine = watchman.describe(
        {one.candidate.engine: one.engine_version for one in reversed(measured)}
    )
    profiles: tuple[Profile, ...] = ()
    if options.profile_calls:
        threads, calls = method.threads[0], options.profile_calls
        profiles = profile(candidates, samples.inputs, threads, calls, method.seed, watch)
    labels = bundles[0].manifest.output.labels
    named = [output.name for output in bundles[0].manifest.outputs]
    outputs = named if len(named) > 1 else []
    variants = tuple(describe(one, measured, samples, labels, method, outputs) for one in measured)
    comparisons = tuple(
        compare(later, earlier, samples, method, classes=bool(labels))
        for earlier, later in combinations(measured, 2)
    )
    return Report(
        tinsmith=version("tinsmith"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bundles=tuple(map(_bundle_info, names, paths, bundles)),
        machine=machine,
        dataset=_dataset(samples, labels),
        method=method,
        variants=variants,
        comparisons=comparisons,
        warnings=(*warnings(machine), *_disturbances(variants)),
        notes=tuple(_notes(bundles, samples)),
        verdict=verdict(variants, comparisons, [one.id for one in rivals]),
        profiles=profiles,
    )


def _method(options: Options, bundles: Sequence[Bundle]) -> Method:
    classes = {bundle.manifest.output.labels for bundle in bundles}
    if len(classes) > 1:
        raise UsageError("expected bundles with the same classes: only those can be compared")
    outputs = {len(bundle.manifest.outputs) for bundle in bundles}
    if len(outputs) > 1:
        raise UsageError("expected bundles with as many outputs: only those can be compared")
    processes = min(options.processes, options.rounds)
    name, overhead_ns = clock()
    return Method(
        seed=options.seed,
        rounds=-(-options.rounds // processes) * processes,
        processes=processes,
        threads=tuple(dict.fromkeys(options.threads)),
        batches=tuple(dict.fromkeys(options.batches)),
        rate_hz=options.rate_hz,
        cold_starts=options.cold_starts,
        top_k=min(options.top_k, len(classes.pop()) or 1),
        clock=name,
        timer_overhead_ns=overhead_ns,
    )


def _measure(
    candidates: Sequence[Candidate], inputs: Arrays, method: Method, watch: Watch
) -> list[Measured]:
    begin = monotonic()
    outputs, versions = _run_all(candidates, inputs, method, watch)
    sample_s = (monotonic() - begin) / count(inputs)
    sizes = [one.size_bytes for one in candidates]
    pool = POOL * sum(part.nbytes for part in parts(inputs)) // count(inputs)
    limit_s = timing_limit_s(method, len(sizes), sum(sizes) + pool, sample_s)
    timings = measure(candidates, inputs, method, watch, limit_s)
    starts = measure_starts(candidates, rows(inputs, 0), method, watch, sample_s)
    return [
        Measured(
            one,
            versions[one.id],
            outputs[one.id],
            tuple(timings[one.id, threads] for threads in method.threads),
            starts.get(one.id),
        )
        for one in candidates
    ]


def _run_all(
    candidates: Sequence[Candidate], inputs: Arrays, method: Method, watch: Watch
) -> tuple[dict[str, Arrays], dict[str, str]]:
    """What each variant makes of all inputs, and its engine's version; by the variant's id."""
    outputs, versions, size = {}, {}, count(inputs)
    for number, one in enumerate(candidates):
        runner = one.open(method.threads[0])
        versions[one.id] = runner.engine_version
        found = []
        for start in range(0, size, CLASSIFY_BATCH):
            # Before the activation: that keeps their order, but may round two of them to be equal.
            encoded = runner.encode(rows(inputs, slice(start, start + CLASSIFY_BATCH)))
            found.append(runner.decode(runner.run(encoded)))
            done = number * size + start + count(encoded)
            watch("accuracy", done, len(candidates) * size)
        outputs[one.id] = concatenate(found)
        _require_finite(one.name, outputs[one.id])
        runner.close()
    return outputs, versions


def _require_finite(name: str, outputs: Arrays) -> None:
    """Refuses NaN and infinities: no mean, no ratio and no gate means anything with them."""
    for output in parts(outputs):
        if bad := int(np.sum(~np.isfinite(output).reshape(len(output), -1).all(axis=1))):
            raise TinsmithError(
                f"{name}: expected finite outputs, got NaN or infinity for {bad} of "
                f"{len(output)} samples"
            )


def _bundle_info(name: str, path: Path, bundle: Bundle) -> BundleInfo:
    manifest = bundle.manifest
    digest = hashlib.sha256(dump_manifest(manifest)).hexdigest()
    return BundleInfo(name, path.name, digest, manifest.training.model, manifest.training.recipe)


def _dataset(samples: Samples, labels: tuple[str, ...]) -> Dataset:
    targets = "none" if samples.targets is None else "labels" if labels else "values"
    size = count(samples.inputs)
    return Dataset(samples.name, samples.sha256, size, targets, labels, samples.decode_us)


def _disturbances(variants: Sequence[Variant]) -> Iterator[str]:
    latencies = [speed.latency_us for one in variants for speed in one.speeds]
    worst = max(latency.p50 / latency.min for latency in latencies)
    if worst > DISTURBED:
        yield (
            f"Something else disturbed the timings: a p50 is {worst:.2f} times the fastest call. "
            "Measure again on a quiet machine before you believe small differences."
        )


def _notes(bundles: Sequence[Bundle], samples: Samples) -> Iterator[str]:
    """What a reader of the numbers must know besides."""
    held = {
        (ENGINE_OF_FORMAT[variant.format], variant.precision)
        for bundle in bundles
        for variant in bundle.manifest.variants
    }
    for engine, name in ENGINE_NAMES.items():
        if engine not in installed_backends() and engine in {key[0] for key in held}:
            yield (
                f"{name} is not installed here, so its variants were not measured: "
                f"pip install 'tinsmith-runtime[{engine}]'."
            )
        elif (engine, "int8") in held and (engine, "float") not in held:
            yield f"The bundle holds no float model for {name}, so int8 is compared with nothing."
    training = bundles[0].manifest.training
    if samples.name == training.dataset and samples.sha256 != training.dataset_sha256:
        yield f"This is not the {samples.name} that the bundle was made with: its hash differs."
    if len(bundles[0].manifest.outputs) > 1:
        yield (
            "The model has several outputs: only how close each is to float can be told; where one "
            "number stands for all, it is that of the output furthest from it."
        )
    elif samples.targets is None:
        yield "The data has no targets: only how close a variant is to float can be told."
