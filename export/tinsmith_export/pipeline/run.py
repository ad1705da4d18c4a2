"""The export, stage by stage: Keras in, a verified bundle out."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith_export.inputs.samples import Samples
from tinsmith_export.inputs.sources import Source
from tinsmith_export.options import Options
from tinsmith_export.pipeline.bundling import write_model
from tinsmith_export.pipeline.converting import convert_model
from tinsmith_export.pipeline.quantizing import quantize_model
from tinsmith_export.pipeline.reading import read_model
from tinsmith_export.pipeline.verifying import verify_model
from tinsmith_export.pipeline.witnessing import witness_model
from tinsmith_export.progress import Progress
from tinsmith_export.results import Exported, Sensitivity
from tinsmith_export.targets.registry import TARGETS
from tinsmith_export.targets.target import Target


def compile_bundle(
    model: Any,
    samples: Samples | Source,
    out: Path,
    options: Options,
    progress: Progress,
    targets: Sequence[Target] = TARGETS,
) -> Exported:
    """See `tinsmith_export.compile_model`; the first of `targets` is the reference."""
    read = read_model(model, samples, options, progress)
    quantized = quantize_model(read, options, progress)
    converted = convert_model(quantized, targets, options, progress)
    witness = witness_model(converted, progress) if options.verify_onnx else None
    verified = verify_model(converted, options, progress)
    manifest = write_model(verified, out, options)
    return Exported(
        manifest,
        quantized.quantized.checkpoints,
        converted.kernels,
        quantized.sensitivities,
        witness,
        read.warnings,
        _peak_memory_mb(),
        {target.name: note for target in targets if (note := target.cpu_note())},
    )


def measure_layers(
    model: Any, samples: Samples | Source, options: Options, progress: Progress
) -> tuple[Sensitivity, ...]:
    """See `tinsmith_export.sensitivity`."""
    read = read_model(model, samples, options, progress)
    return quantize_model(read, options, progress).sensitivities


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # bytes there, kB here
