"""The export, stage by stage: Keras in, a verified bundle out."""

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinsmith_export.errors import FloatChoiceError, GateError
from tinsmith_export.inputs.samples import Samples
from tinsmith_export.inputs.sources import Source
from tinsmith_export.options import Options
from tinsmith_export.pipeline.bundling import write_model
from tinsmith_export.pipeline.converting import convert_model
from tinsmith_export.pipeline.quantizing import quantize_model
from tinsmith_export.pipeline.reading import read_model
from tinsmith_export.pipeline.verifying import VerifiedModel, verify_model
from tinsmith_export.pipeline.witnessing import witness_model
from tinsmith_export.progress import Progress
from tinsmith_export.results import Exported, Outcome, Sensitivity
from tinsmith_export.targets.registry import chosen_targets
from tinsmith_export.targets.target import Target
from tinsmith_export.verdict import by_verdict, doubt_text, rejection
from tinsmith_export.verify.gates import choice_failures, witness_failures


def compile_bundle(
    model: Any,
    samples: Samples | Source,
    out: Path,
    options: Options,
    progress: Progress,
    targets: Sequence[Target] | None = None,
) -> Exported:
    """See `tinsmith_export.compile_model`; the first of `targets` is the reference.

    Without any it is those of `options`.
    """
    targets = targets or chosen_targets(options.targets)
    read = read_model(model, samples, options, progress)
    quantized = quantize_model(read, options, progress, _has_regions(targets, options))
    converted = convert_model(quantized, targets, options, progress)
    missing = (target.missing_engine() for target in converted.targets)
    notes = (*converted.left_out, *filter(None, missing))
    for note in notes:
        progress.warn(note)
    witness = witness_model(converted, progress) if options.verify_onnx else None
    verified = verify_model(converted, options, progress)
    titles = {target.name: target.title for target in converted.targets}
    failures = (
        *(witness_failures(witness, titles) if witness else ()),
        *choice_failures(quantized.float_choice),
        *verified.failures,
    )
    bundle = _place(out, bool(failures), verified, options)
    doubts = () if options.strict else _doubts(verified, titles, progress)
    exported = Exported(
        bundle=bundle,
        manifest=write_model(verified, failures, bundle, options),
        verdicts=verified.verdicts,
        float_choice=quantized.float_choice,
        failures=failures,
        attempts=quantized.attempts,
        checkpoints=quantized.quantized.checkpoints,
        kernels=converted.kernels,
        sensitivities=quantized.sensitivities,
        witness=witness,
        warnings=(*read.warnings, *notes, *doubts),
        peak_memory_mb=_peak_memory_mb(),
        tensors=converted.tensors if quantized.sensitivities else {},
        cpu_notes={t.name: note for t in converted.targets if (note := t.cpu_note())},
    )
    if failures:
        raise GateError(rejection(exported), exported)
    return exported


def _has_regions(targets: Sequence[Target], options: Options) -> bool:
    """Whether the output of layers kept float may stay float.

    That decides a model's accuracy. So a target without such tensors forbids them where it is asked
    for by name; else it is left out of a bundle that has some.
    """
    return options.targets is None or all(target.has_regions for target in targets)


def _place(out: Path, failed: bool, verified: VerifiedModel, options: Options) -> Path | None:
    """Where the bundle goes, if it is written at all: without golden vectors there is none."""
    if failed:
        return options.keep_rejected if verified.golden_count else None
    return out


def _doubts(
    verified: VerifiedModel, titles: Mapping[str, str], progress: Progress
) -> tuple[str, ...]:
    """Warns of verdicts that are not decided."""
    found = tuple(
        doubt_text(verdict, who)
        for who, verdict in by_verdict(verified.verdicts, titles)
        if verdict.outcome is Outcome.UNDECIDED
    )
    for text in found:
        progress.warn(text)
    return found


def measure_layers(
    model: Any, samples: Samples | Source, options: Options, progress: Progress
) -> tuple[Sensitivity, ...]:
    """See `tinsmith_export.sensitivity`."""
    read = read_model(model, samples, options, progress)
    regions = _has_regions(chosen_targets(options.targets), options)
    quantized = quantize_model(read, options, progress, regions)
    for failure in choice_failures(quantized.float_choice):
        raise FloatChoiceError(failure, quantized.sensitivities)
    return quantized.sensitivities


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # bytes there, kB here
