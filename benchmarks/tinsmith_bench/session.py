"""Measures every variant of every bundle, on every engine that is installed here."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.box_truth import class_labels
from tinsmith_bench.machine import Monitor, warnings
from tinsmith_bench.options import Options
from tinsmith_bench.report_data import (
    BoxedImage,
    BundleInfo,
    Comparison,
    Dataset,
    Method,
    Profile,
    Report,
    Variant,
)
from tinsmith_bench.stats.detection import boxed_images, judge_boxes
from tinsmith_bench.stats.results import Measured, compare, describe
from tinsmith_bench.target import Target, bundle_names, bundle_targets
from tinsmith_bench.test_set import Samples
from tinsmith_bench.timing.coldstart import measure_starts
from tinsmith_bench.timing.latency import POOL, Watch, clock, measure
from tinsmith_bench.timing.limits import timing_limit_s
from tinsmith_bench.timing.operators import profile
from tinsmith_runtime import (
    Bundle,
    Manifest,
    TinsmithError,
    UsageError,
    installed_backends,
    read_bundle,
)
from tinsmith_runtime.backends import known_backends
from tinsmith_runtime.batch import Arrays, concatenate, count, parts, rows
from tinsmith_runtime.bundle import dump_manifest, keras_outputs

CLASSIFY_BATCH = 32
# On a quiet machine the p50 was at most 1.06 times the fastest call, next to others up to 1.7.
DISTURBED = 1.25


def measure_bundles(
    paths: Sequence[Path],
    samples: Samples,
    options: Options,
    competitors: Sequence[Target],
    watch: Watch,
) -> Report:
    """Measures as `api.bench` does; the report lacks what `verdict.judged` adds."""
    bundles = read_bundles(paths)
    names = bundle_names(paths)
    method = plan_method(options, len(bundles[0].manifest.output.labels))
    targets = [
        *(
            target
            for name, path, bundle in zip(names, paths, bundles, strict=True)
            for target in bundle_targets(name, path, bundle, name if len(names) > 1 else "")
        ),
        *competitors,
    ]
    monitor = Monitor()
    measured = _measure(targets, samples.inputs, method, watch)
    manifests = dict(zip(names, (bundle.manifest for bundle in bundles), strict=True))
    if manifests[names[0]].boxes and samples.targets is not None:
        measured = _judged(measured, manifests, samples.targets, method)
    machine = monitor.describe(
        {one.target.engine: one.engine_version for one in reversed(measured)}
    )
    profiles: tuple[Profile, ...] = ()
    if options.profile_calls:
        threads, calls = method.threads[0], options.profile_calls
        profiles = profile(targets, samples.inputs, threads, calls, method.seed, watch)
    variants, comparisons = _results(measured, bundles[0], samples, method)
    return Report(
        tinsmith=version("tinsmith"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bundles=tuple(map(_bundle_info, names, paths, bundles)),
        machine=machine,
        dataset=_dataset(samples, bundles[0].manifest),
        method=method,
        variants=variants,
        comparisons=comparisons,
        warnings=(*warnings(machine), *_disturbances(variants)),
        notes=tuple(_notes(bundles, samples)),
        verdict=(),
        profiles=profiles,
        images=_images(measured, samples),
    )


def read_bundles(paths: Sequence[Path]) -> list[Bundle]:
    """Reads bundles that can be measured side by side.

    Raises:
        UsageError: there is none, or one twice, or their outputs cannot be compared.
        TinsmithError: one is damaged.
    """
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("expected one bundle or several different ones")
    bundles = [read_bundle(path) for path in paths]
    if len({class_labels(bundle.manifest) for bundle in bundles}) > 1:
        raise UsageError("expected bundles with the same classes: only those can be compared")
    if len({len(keras_outputs(bundle.manifest.outputs)) for bundle in bundles}) > 1:
        raise UsageError("expected bundles with as many outputs: only those can be compared")
    return bundles


def plan_method(options: Options, classes: int) -> Method:
    """Fits the options to bundles with so many classes; 0 for values."""
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
        top_k=min(options.top_k, classes or 1),
        clock=name,
        timer_overhead_ns=overhead_ns,
    )


def _results(
    measured: Sequence[Measured], bundle: Bundle, samples: Samples, method: Method
) -> tuple[tuple[Variant, ...], tuple[Comparison, ...]]:
    """What was found of each variant, and of every two of them."""
    labels = bundle.manifest.output.labels
    named = [one.name for one in keras_outputs(bundle.manifest.outputs)]
    outputs = named if len(named) > 1 else []
    variants = (describe(one, measured, samples, labels, method, outputs) for one in measured)
    comparisons = (
        compare(later, earlier, samples, method, classes=bool(labels))
        for earlier, later in combinations(measured, 2)
    )
    return tuple(variants), tuple(comparisons)


def _measure(
    targets: Sequence[Target], inputs: Arrays, method: Method, watch: Watch
) -> list[Measured]:
    begin = monotonic()
    outputs, versions = _run_all(targets, inputs, method, watch)
    sample_s = (monotonic() - begin) / count(inputs)
    sizes = [one.size_bytes for one in targets]
    pool = POOL * sum(part.nbytes for part in parts(inputs)) // count(inputs)
    limit_s = timing_limit_s(method, len(sizes), sum(sizes) + pool, sample_s)
    timings = measure(targets, inputs, method, watch, limit_s)
    starts = measure_starts(targets, rows(inputs, 0), method, watch, sample_s)
    return [
        Measured(
            one,
            versions[one.id],
            outputs[one.id],
            tuple(timings[one.id, threads] for threads in method.threads),
            starts.get(one.id),
        )
        for one in targets
    ]


def _judged(
    measured: Sequence[Measured],
    manifests: Mapping[str, Manifest],
    truth: NDArray[Any],
    method: Method,
) -> list[Measured]:
    """The same with the boxes that each variant found, held against the true ones."""
    first = next(iter(manifests.values()))
    return [
        replace(
            one,
            boxes=judge_boxes(
                one.outputs,
                manifests.get(one.target.bundle, first),
                truth,
                np.random.default_rng(method.seed),  # the same draws for each
            ),
        )
        for one in measured
    ]


def _images(measured: Sequence[Measured], samples: Samples) -> tuple[BoxedImage, ...]:
    found = [(one.target.id, one.boxes) for one in measured if one.boxes]
    if not found or samples.targets is None:
        return ()
    return tuple(boxed_images(parts(samples.inputs)[0], samples.targets, found))


def _run_all(
    targets: Sequence[Target], inputs: Arrays, method: Method, watch: Watch
) -> tuple[dict[str, Arrays], dict[str, str]]:
    """What each variant makes of all inputs, and its engine's version; by the variant's id."""
    outputs, versions, size = {}, {}, count(inputs)
    for number, one in enumerate(targets):
        runner = one.open(method.threads[0])
        versions[one.id] = runner.engine_version
        found = []
        for start in range(0, size, CLASSIFY_BATCH):
            # Before the activation: that keeps their order, but may round two of them to be equal.
            encoded = runner.encode(rows(inputs, slice(start, start + CLASSIFY_BATCH)))
            found.append(runner.decode(runner.run(encoded)))
            done = number * size + start + count(encoded)
            watch("accuracy", done, len(targets) * size)
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


def _dataset(samples: Samples, manifest: Manifest) -> Dataset:
    labels, size = class_labels(manifest), count(samples.inputs)
    targets = "boxes" if manifest.boxes else "labels" if labels else "values"
    targets = "none" if samples.targets is None else targets
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
    held = {(v.format, v.precision) for bundle in bundles for v in bundle.manifest.variants}
    installed = installed_backends()
    is_float_here = any(
        (form, "float") in held
        for spec in known_backends()
        for form in (spec.formats if spec.name in installed else ())
    )
    for spec in known_backends():
        precisions = {precision for form, precision in held if form in spec.formats}
        if precisions and spec.name not in installed:
            yield (
                f"{spec.title} is not installed here, so its variants were not measured: "
                f"pip install '{spec.extra}'."
            )
        elif "int8" in precisions and "float" not in precisions:
            other = "the fastest of other engines" if is_float_here else "nothing"
            yield f"There is no float model for {spec.title}: int8 is compared with {other}."
    training = bundles[0].manifest.training
    if samples.name == training.dataset and samples.sha256 != training.dataset_sha256:
        yield f"This is not the {samples.name} that the bundle was made with: its hash differs."
    if bundles[0].manifest.boxes:
        if samples.targets is None:
            yield "The data has no boxes: only how close a variant is to float can be told."
    elif bundles[0].manifest.states:
        yield (
            "The model computes steps of a sequence: each was measured by itself, from states of "
            "zero. What sequences give, their states fed back, the bundle says: `tinsmith inspect`."
        )
    elif len(keras_outputs(bundles[0].manifest.outputs)) > 1:
        yield (
            "The model has several outputs: only how close each is to float can be told; where one "
            "number stands for all, it is that of the output furthest from it."
        )
    elif samples.targets is None:
        yield "The data has no targets: only how close a variant is to float can be told."
