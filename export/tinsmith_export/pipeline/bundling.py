"""The last stage: the bundle is written."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.metrics import top1
from tinsmith_export.options import Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.pipeline.verifying import VerifiedModel
from tinsmith_export.verify.engines import kind_of
from tinsmith_runtime.batch import Arrays
from tinsmith_runtime.bundle import (
    FORMAT_VERSION,
    Golden,
    Layer,
    Manifest,
    Parity,
    Training,
    Variant,
    sha256,
    write_bundle,
)

_MADE_WITH = (
    "tinsmith",
    "tensorflow",
    "tensorflow-model-optimization",
    "onnx",
    "ai-edge-litert",
    "onnxruntime",
)


def write_model(verified: VerifiedModel, out: Path, options: Options) -> Manifest:
    """Writes the bundle and gives its manifest.

    Raises:
        TinsmithError: the disk refuses.
    """
    converted = verified.model
    model, quantized, read = converted.model, converted.model.quantized, converted.model.read
    samples, golden = read.samples, verified.golden
    scored = samples.proof_labels if read.classes else None
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        release=options.release,
        made_with={name: version(name) for name in _MADE_WITH},
        inputs=read.entry.sources,
        outputs=converted.outputs,
        variants=_variants(converted.files, verified.outputs, scored, verified.quality.parity),
        golden=Golden("golden.npz", len(golden), sha256(golden), verified.golden_count),
        layers=tuple(
            Layer(node.name, node.kind, quantized.weight_bits[node.name])
            for node in quantized.graph.weighted
        ),
        training=Training(
            samples.name, samples.sha256, read.name, options.recipe, model.steps, options.seed
        ),
        quality=verified.quality,
    )
    write_bundle(out, manifest, {**converted.files, "golden.npz": golden})
    return manifest


def _variants(
    files: Mapping[str, bytes],
    outputs: Mapping[str, Arrays],
    labels: NDArray[np.int64] | None,
    proven: Parity,
) -> tuple[Variant, ...]:
    """Describes each model file by what it itself answered."""
    variants = []
    for file, data in files.items():
        precision, form = kind_of(file)
        variants.append(
            Variant(
                id=f"{precision}-{form}",
                file=file,
                format=form,
                precision=precision,
                size_bytes=len(data),
                sha256=sha256(data),
                accuracy=None if labels is None else top1(side_by_side(outputs[file]), labels),
                parity=proven if file == "model.int8.onnx" else None,
            )
        )
    return tuple(variants)
