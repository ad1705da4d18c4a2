"""Reports and bundles made by hand: no engine is needed to test what a report says."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, find_browser
from sklearn.datasets import load_digits
from spec import Spec

from tinsmith_bench.gates.verdict import verdict
from tinsmith_bench.report_data import (
    Accuracy,
    BundleInfo,
    ClassAccuracy,
    ColdStart,
    Comparison,
    Dataset,
    Estimate,
    Fidelity,
    Flip,
    Latency,
    Machine,
    Method,
    Report,
    Speed,
    SpeedRatio,
    State,
    Throughput,
    Variant,
)
from tinsmith_bench.stats.significance import wilson_estimate
from tinsmith_bench.timing.latency import summarize
from tinsmith_report.statistics import mcnemar_p
from tinsmith_runtime import bundle as m
from tinsmith_runtime import write_bundle
from tinsmith_runtime.bundle import sha256

SAMPLES = 10_000
FORMATS = {"litert": "tflite", "onnx": "onnx", "native": "native"}
NAMES = {"litert": "LiteRT", "onnx": "ONNX Runtime", "native": "tinsmith native"}
LABELS = ("zero", "one", "two")
PROCESSES, ROUNDS = 8, 48


@pytest.fixture
def spec() -> type[Spec]:
    return Spec


@pytest.fixture
def make_report() -> Callable[..., Report]:
    return _report


def _fastest(spec: Spec) -> float:
    return spec.fastest or 0.9 * spec.p50


def _latency(spec: Spec, seed: int) -> Latency:
    """Timings around `p50` whose processes differ by a third of a percent."""
    rng = np.random.default_rng(seed)
    process = np.repeat(rng.normal(1, 0.003, PROCESSES), ROUNDS // PROCESSES)
    rounds = [
        np.maximum(1e3 * spec.p50 * factor * rng.normal(1, 0.02, 21), 1e3 * _fastest(spec)).astype(
            np.int64
        )
        for factor in process
    ]
    rounds[0][0] = 1e3 * _fastest(spec)
    return summarize(rounds)


def _accuracy(spec: Spec, best: int) -> Accuracy:
    """Wrong samples are nested: a worse variant misses what a better one misses too."""
    wrong = SAMPLES - spec.correct
    third = SAMPLES // 3
    counts = (SAMPLES - 2 * third, third, third)
    classes = tuple(
        ClassAccuracy(label, count, count - (wrong if not index else 0), count)
        for index, (label, count) in enumerate(zip(LABELS, counts, strict=True))
    )
    confusion = [(0, 0, counts[0] - wrong), (1, 1, third), (2, 2, third)]
    confusion += [(0, 1, wrong)] if wrong else []
    share = wilson_estimate(spec.correct, SAMPLES)
    return Accuracy(spec.correct, share, share, tuple(range(wrong)), classes, tuple(confusion))


def _fidelity(spec: Spec, baseline: str, other: Spec) -> Fidelity:
    flipped = abs(spec.correct - other.correct)
    pixels = base64.b64encode(bytes(range(16))).decode()
    flips = tuple(
        Flip(index, 0 if spec.labelled else None, 0, 1, (4, 4, 1), pixels)
        for index in range(min(flipped, 3))
    )
    agreement = wilson_estimate(SAMPLES - flipped, SAMPLES)
    return Fidelity(baseline, agreement, flipped, flips, 0.04, 31.5, 0.9997)


def _variant(spec: Spec, number: int, specs: tuple[Spec, ...], prefix: bool) -> Variant:
    own = Estimate(spec.start_ms / 4, spec.start_ms / 4 - 1, spec.start_ms / 4 + 1)
    total = Estimate(spec.start_ms, spec.start_ms - 2, spec.start_ms + 2)
    peak = Estimate(spec.memory, spec.memory - 1e5, spec.memory + 1e5)
    latency = _latency(spec, number)
    floats = sorted(
        (one for one in specs if (one.bundle, one.precision) == (spec.bundle, "float")),
        key=lambda one: (one.backend != spec.backend, one.p50),
    )
    name = f"{spec.precision} on {NAMES[spec.backend]}"
    rates = tuple(Throughput(size, 1e6 / spec.p50) for size in (1, 8, 32))
    return Variant(
        id=_id(spec, prefix),
        bundle=spec.bundle,
        name=f"{spec.bundle}: {name}" if prefix else name,
        engine=spec.backend,
        engine_version=f"{NAMES[spec.backend]} 1.0",
        precision=spec.precision,
        file=f"model.{spec.precision}.{FORMATS[spec.backend]}",
        size_bytes=spec.size_bytes,
        accuracy=_accuracy(spec, SAMPLES) if spec.labelled else None,
        regression=None,
        fidelity=_fidelity(spec, _id(floats[0], prefix), floats[0])
        if floats and spec.precision != "float"
        else None,
        speeds=(Speed(1, latency, _latency(spec, number + 100), None, None, rates),),
        cold_start=ColdStart(5, own, own, own, own, total, peak),
    )


def _id(spec: Spec, prefix: bool) -> str:
    name = f"{spec.precision}-{FORMATS[spec.backend]}"
    return f"{spec.bundle}/{name}" if prefix else name


def _comparison(one: Spec, other: Spec, variants: tuple[Variant, Variant]) -> Comparison:
    ratio = one.p50 / other.p50
    noise = max(one.noise, other.noise)
    interval = Estimate(ratio, ratio * (1 - noise), ratio * (1 + noise))
    lost, won = max(0, other.correct - one.correct), max(0, one.correct - other.correct)
    labelled = one.labelled
    return Comparison(
        candidate=variants[0].id,
        baseline=variants[1].id,
        speeds=(SpeedRatio(1, interval, interval, _fastest(one) / _fastest(other)),),
        agreement=1 - abs(lost - won) / SAMPLES,
        lost=lost if labelled else None,
        won=won if labelled else None,
        mcnemar_p=mcnemar_p(lost, won) if labelled else None,
        mae_ratio=None,
    )


def _report(*specs: Spec, **changes: object) -> Report:
    bundles = list(dict.fromkeys(spec.bundle for spec in specs))
    prefix = len(bundles) > 1
    variants = tuple(_variant(spec, i, specs, prefix) for i, spec in enumerate(specs))
    comparisons = tuple(
        _comparison(specs[one], specs[other], (variants[one], variants[other]))
        for other, one in combinations(range(len(specs)), 2)
    )
    engines = {"litert": "LiteRT 2.3.0", "onnx": "ONNX Runtime 1.32.0"}
    state = State(0.1, 1500.0, 45.0, (), "mains")
    fields: dict[str, object] = {
        "tinsmith": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "bundles": tuple(
            BundleInfo(name, f"{name}.tin", "cd" * 32, "cnn", "qat") for name in bundles
        ),
        "machine": Machine(
            model="Testbed",
            cpu="Testbed",
            features=("NEON",),
            architecture="aarch64",
            cores=2,
            memory_bytes=2 << 30,
            governor="performance",
            os="Debian",
            kernel="Linux 6.1",
            python="3.11.7",
            engines=engines,
            before=state,
            after=state,
            others_cores=0.01,
            stolen_cores=0.0,
        ),
        "dataset": Dataset(
            "digits",
            "ab" * 32,
            SAMPLES,
            "labels" if specs[0].labelled else "none",
            LABELS,
            None,
        ),
        "method": Method(
            0, ROUNDS, PROCESSES, (1,), (1, 8, 32), None, 5, 2, "a clock, resolution 1 ns", 60.0
        ),
        "variants": variants,
        "comparisons": comparisons,
        "warnings": ("The machine ran on battery.",),
        "notes": ("ONNX Runtime is not installed here.",),
        "verdict": (),
    }
    report = Report(**fields)  # type: ignore[arg-type]
    return replace(report, verdict=verdict(report), **changes)  # type: ignore[arg-type]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A valid bundle for 4 by 4 images in 3 classes, whose model files no engine would take."""
    files = {
        f"model.{precision}.{kind}": f"{precision} {kind}".encode()
        for kind in ("tflite", "onnx")
        for precision in ("float", "int8")
    }
    golden = io.BytesIO()
    np.savez(golden, inputs=np.zeros((1, 4, 4, 1), np.uint8))
    variants = [
        m.Variant(
            f"{name.split('.')[1]}-{name.split('.')[2]}",
            name,
            name.split(".")[2],
            name.split(".")[1],
            len(data),
            sha256(data),
            None,
        )
        for name, data in files.items()
    ]
    files["golden.npz"] = golden.getvalue()
    manifest = m.Manifest(
        format_version=m.FORMAT_VERSION,
        made_with={},
        inputs=(m.Input("image", (None, 4, 4, 1), "uint8", "NHWC", (0.0, 1.0), 1 / 255, -128),),
        outputs=(m.Output("logits", (None, 3), 0.1, 0, ("a", "b", "c"), "softmax"),),
        variants=tuple(variants),
        golden=m.Golden("golden.npz", len(golden.getvalue()), sha256(golden.getvalue()), 1),
        layers=(),
        training=m.Training("nosuchset", "0" * 64, "cnn", "ptq", 0, 0),
        quality=m.Quality((m.Stage("float", None, 1, *[None] * 4),), "tflite", (), None),
    )
    path = tmp_path / "tiny.tin"
    write_bundle(path, manifest, files)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """An `.npz` file of 90 images for `bundle`: the brightest pixel of the top row is the class."""
    labels = np.arange(90) % 3
    images = np.zeros((90, 4, 4, 1), np.uint8)
    images[np.arange(90), 0, labels] = 200
    path = tmp_path / "test.npz"
    np.savez(path, x_test=images, y_test=labels)
    return path


@pytest.fixture(scope="session")
def tiny() -> Path:
    """A real bundle for 8 by 8 digits 0, 1 and 2, small enough for every test."""
    return Path(__file__).parents[1] / "data" / "tiny.tin"


@pytest.fixture(scope="session")
def tiny_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its test set, as `tests/data/make_tiny.py` makes it."""
    digits = load_digits(n_class=3)
    images = np.rint(digits.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)
    path = tmp_path_factory.mktemp("tiny") / "test.npz"
    np.savez(path, x_test=images[:100], y_test=digits.target[:100])
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return find_browser(tmp_path_factory.mktemp("browser"))
