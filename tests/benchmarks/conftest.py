"""Reports and bundles made by hand: no engine is needed to test what a report says."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from tinsmith_bench.accuracy import Estimate, mcnemar, wilson
from tinsmith_bench.coldstart import ColdStart
from tinsmith_bench.latency import Latency
from tinsmith_bench.machine import Machine
from tinsmith_bench.report import Comparison, DatasetInfo, Method, Report, Row
from tinsmith_bench.verdict import verdict
from tinsmith_runtime import write_bundle
from tinsmith_runtime.bundle import sha256
from tinsmith_runtime.manifest import (
    FORMAT_VERSION,
    Golden,
    Input,
    Manifest,
    Output,
    Parity,
    Quality,
    Training,
    Variant,
)

IMAGES = 10_000
FORMATS = {"litert": "tflite", "onnx": "onnx"}


@dataclass(frozen=True)
class Spec:
    """One variant of a made-up report: what a test says of it."""

    backend: str
    precision: str
    p50: float
    correct: int = 9_940
    size_bytes: int = 45_000
    memory: float = 41e6
    noise: float = 0.01
    fastest: float | None = None


@pytest.fixture
def spec() -> type[Spec]:
    return Spec


@pytest.fixture
def make_report() -> Callable[..., Report]:
    return _report


def _fastest(spec: Spec) -> float:
    return spec.fastest or 0.9 * spec.p50


def _row(spec: Spec) -> Row:
    ms = Estimate(40, 39, 45)
    peak = Estimate(spec.memory, spec.memory - 1e5, spec.memory + 1e5)
    return Row(
        backend=spec.backend,
        precision=spec.precision,
        file=f"model.{spec.precision}.{FORMATS[spec.backend]}",
        size_bytes=spec.size_bytes,
        correct=spec.correct,
        accuracy=wilson(spec.correct, IMAGES),
        agreement=0.9995,
        latency_us=Latency(_fastest(spec), spec.p50, 1.1 * spec.p50, 2 * spec.p50, 5000),
        images_per_s=2e6 / spec.p50,
        cold_start=ColdStart(ms, ms, ms, ms, peak),
    )


def _report(*specs: Spec, **changes: object) -> Report:
    """A report of variants whose wrong images are nested: the worse one misses what both miss."""
    rows = [_row(spec) for spec in specs]
    comparisons = []
    for one, other in permutations(range(len(specs)), 2):
        ratio = specs[one].p50 / specs[other].p50
        noise = max(specs[one].noise, specs[other].noise)
        lost = max(0, specs[other].correct - specs[one].correct)
        won = max(0, specs[one].correct - specs[other].correct)
        interval = Estimate(ratio, ratio * (1 - noise), ratio * (1 + noise))
        comparisons.append(
            Comparison(
                candidate=rows[one].file,
                baseline=rows[other].file,
                p50_ratio=interval,
                min_ratio=_fastest(specs[one]) / _fastest(specs[other]),
                lost=lost,
                won=won,
                mcnemar_p=mcnemar(lost, won),
            )
        )
    engines = {"litert": "LiteRT 2.3.0", "onnx": "ONNX Runtime 1.32.0"}
    fields: dict[str, object] = {
        "tinsmith": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "bundle": "digits.tin",
        "machine": Machine("Testbed", "x86_64", 2, "Debian", "3.11.7", engines, 0.1),
        "dataset": DatasetInfo("digits", "ab" * 32, IMAGES),
        "method": Method(1, 100, 50, 32, 5, 0),
        "rows": rows,
        "comparisons": comparisons,
        "notes": ["ONNX Runtime is not installed here."],
        "verdict": verdict(rows, comparisons),
    }
    return Report(**{**fields, **changes})  # type: ignore[arg-type]


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
    parity = Parity(3, 3, 0, 1.0)
    variants = [
        Variant(
            name, name, name.split(".")[2], name.split(".")[1], len(data), sha256(data), None, None
        )
        for name, data in files.items()
    ]
    files["golden.npz"] = golden.getvalue()
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        made_with={},
        input=Input("image", (None, 4, 4, 1), "uint8", "NHWC", (0.0, 1.0), 1 / 255, -128),
        output=Output("logits", (None, 3), 0.1, 0, ("a", "b", "c"), "softmax"),
        variants=tuple(variants),
        golden=Golden("golden.npz", len(golden.getvalue()), sha256(golden.getvalue()), 1),
        layers=(),
        training=Training("nosuchset", "0" * 64, "cnn", "ptq", 0, 0),
        quality=Quality((), parity, parity, None),
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
