"""The last stage: the bundle is written."""

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

from tinsmith_export.metrics import top1
from tinsmith_export.options import Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.pipeline.verifying import VerifiedModel
from tinsmith_export.targets.target import ModelFile
from tinsmith_export.verify.saturation import saturates
from tinsmith_runtime.bundle import (
    Golden,
    Layer,
    Manifest,
    Setting,
    Training,
    Variant,
    format_version,
    sha256,
    write_bundle,
)
from tinsmith_runtime.bundle.schema import MAX_SETTING

_MADE_WITH = (
    "tinsmith",
    "tensorflow",
    "tensorflow-model-optimization",
)
# Or they change nothing of what is in the bundle.
_TOLD_ELSEWHERE = (
    *("seed", "release", "keep_rejected", "layer_errors", "sensitivity", "verify_onnx", "boxes"),
    "targets",
)


def write_model(
    verified: VerifiedModel, failures: tuple[str, ...], out: Path | None, options: Options
) -> Manifest:
    """Writes the bundle, if `out` says where, and gives its manifest.

    Args:
        verified: what goes into it.
        failures: the gates that failed, a line each.
        out: the file.
        options: how to export.

    Raises:
        TinsmithError: the disk refuses.
    """
    converted = verified.model
    model, quantized, read = converted.model, converted.model.quantized, converted.model.read
    samples, golden = read.samples, verified.golden
    packages = [*_MADE_WITH, *(name for file in converted.int8 for name in file.target.packages)]
    manifest = Manifest(
        format_version=format_version(converted.integers.inputs, converted.integers.outputs),
        release=options.release,
        made_with={name: version(name) for name in packages},
        inputs=converted.integers.inputs,
        outputs=converted.integers.outputs,
        variants=_variants(verified, options),
        golden=Golden("golden.npz", len(golden), sha256(golden), verified.golden_count),
        layers=tuple(
            Layer(
                node.name,
                node.kind,
                quantized.weight_bits[node.name],
                saturates(converted.integers.products[node.name]),
            )
            for node in quantized.graph.weighted
        ),
        training=Training(
            samples.name, samples.sha256, read.name, model.recipe, model.steps, options.seed
        ),
        quality=verified.quality,
        failures=failures,
        boxes=options.boxes,
        settings=_settings(options),
    )
    if out is not None:
        files = {file.name: file.data for file in _bundled(verified, options)}
        write_bundle(out, manifest, {**files, "golden.npz": golden})
    return manifest


def _settings(options: Options) -> tuple[Setting, ...]:
    """What was not left at its default; without the names of the user's folders."""
    default, kept = Options(), []
    for field in fields(Options):
        value = getattr(options, field.name)
        if field.name in _TOLD_ELSEWHERE or value == getattr(default, field.name):
            continue
        # Of classes and functions their names.
        plain = sorted(value) if isinstance(value, Mapping) else value
        kept.append(Setting(field.name, json.dumps(plain, default=str)[:MAX_SETTING]))
    return tuple(kept)


def _bundled(verified: VerifiedModel, options: Options) -> list[ModelFile]:
    """The files that the bundle is to hold; the reference may be there for the proof alone."""
    names, files = options.targets, verified.model.files
    return [file for file in files if names is None or file.target.name in names]


def _variants(verified: VerifiedModel, options: Options) -> tuple[Variant, ...]:
    """Describes each model file by what it itself answered."""
    read = verified.model.model.read
    labels = read.samples.evaluation_labels if read.classes else None
    return tuple(
        Variant(
            id=f"{file.precision}-{file.target.name}",
            file=file.name,
            format=file.target.name,
            precision=file.precision,
            size_bytes=len(file.data),
            sha256=sha256(file.data),
            arena_bytes=file.target.arena_bytes(file.data),
            accuracy=(
                None if labels is None else top1(side_by_side(verified.outputs[file.name]), labels)
            ),
        )
        for file in _bundled(verified, options)
    )
