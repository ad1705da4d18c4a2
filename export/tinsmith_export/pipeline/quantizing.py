"""The second stage: the graph is quantized, and what that does to its layers is measured."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.inputs.samples import Samples
from tinsmith_export.inputs.sequences import as_given
from tinsmith_export.options import AUTO, Options
from tinsmith_export.pipeline.attempts import attempt_recipes
from tinsmith_export.pipeline.reading import ReadModel, stepped
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.calibration import calibrate
from tinsmith_export.quantize.qat import DistillationData, batch_size
from tinsmith_export.quantize.recipe import Calibration, Quantized, fine_tune, quantize, refine
from tinsmith_export.quantize.sensitivity import keep_fewest, measure, state_errors
from tinsmith_export.results import Attempt, Sensitivity, Verdict
from tinsmith_export.verify.gates import choice_failures
from tinsmith_runtime.batch import Arrays, concatenate, count, parts, rows
from tinsmith_runtime.bundle import StateError
from tinsmith_runtime.errors import UsageError

_MAX_HELD_BACK = 5000
_MAX_CALIBRATION_STEPS = 100_000  # of all sequences together


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A model that was quantized and not yet converted.

    Attributes:
        read: the model as it was read.
        recipe: what was applied: `ptq`, `calibrated`, `qat` or `mixed`.
        steps: of fine-tuning.
        quantized: what became of the graph.
        attempts: what `auto` tried.
        float_choice: what the layers that `auto` keeps float give on inputs held back.
        sensitivities: what that did to each layer, if it was measured.
        states: how the errors of unrolled recurrent layers' states grow.
    """

    read: ReadModel
    recipe: str
    steps: int
    quantized: Quantized
    attempts: tuple[Attempt, ...]
    float_choice: Verdict | None
    sensitivities: tuple[Sensitivity, ...]
    states: tuple[StateError, ...] = ()


def quantize_model(
    read: ReadModel, options: Options, progress: Progress, regions: bool
) -> QuantizedModel:
    """Quantizes a model, keeps layers float where that is asked for, and measures the others.

    Args:
        read: the model.
        options: how, and what to measure.
        progress: hears how it goes.
        regions: whether the output of a layer kept float that only such layers read stays float.

    Raises:
        UsageError: the options do not fit the model.
    """
    graph = read.graph
    calibration = _calibrated(read, options, regions)
    progress.stage(f"quantizing {len(graph.weighted)} layers that multiply")
    quantized, recipe, attempts = _applied(read, calibration, options, progress)
    steps = quantized.checkpoints[-1].step
    fresh = calibration.held_back
    if not steps and (options.sensitivity or options.layer_errors or AUTO in options.keep_float):
        # Without QAT there is nothing to hold back.
        fresh = _joined(fresh, calibration.data)
    float_choice = None
    if AUTO in options.keep_float:
        progress.stage("choosing the layers to keep float")
        quantized, float_choice = keep_fewest(quantized, fresh, options, progress.layer)
        for failure in choice_failures(float_choice):
            progress.warn(failure)
    if options.sensitivity:
        progress.stage(f"measuring {len(quantized.graph.requantized)} layers one by one")
    sensitivities: tuple[Sensitivity, ...] = ()
    if options.sensitivity or options.layer_errors:
        sensitivities = measure(quantized, fresh, options.sensitivity, progress.layer)
    states = () if graph.states else state_errors(quantized, calibration.data.inputs)
    measured = sensitivities, states
    return QuantizedModel(read, recipe, steps, quantized, attempts, float_choice, *measured)


def _applied(
    read: ReadModel, calibration: Calibration, options: Options, progress: Progress
) -> tuple[Quantized, str, tuple[Attempt, ...]]:
    """What the recipe makes of the graph, the recipe's name, and the attempts of `auto`."""
    begun_s = time.monotonic()
    quantized = quantize(read.graph, calibration, options.kept_layers)
    if options.recipe == AUTO:
        return attempt_recipes(quantized, begun_s, options, progress)
    if options.recipe == "calibrated":
        quantized = refine(quantized, progress.layer)
    if options.recipe == "qat":
        batch = batch_size(read.graph, options.qat_batch, count(calibration.data.inputs))
        quantized = fine_tune(quantized, options.qat_steps, batch, options.seed, progress.step)
    return quantized, options.recipe, ()


def _calibrated(read: ReadModel, options: Options, regions: bool) -> Calibration:
    """What the float graph gives on calibration data, some of which are held back.

    Ranges are those of all of them: there are few, and rare outputs should not be clipped.
    """
    samples = _few_steps(read)
    order = np.random.default_rng(options.seed).permutation(count(samples.calibration))
    if len(order) < 2:
        raise UsageError(
            f"{samples.name}: expected at least 2 calibration inputs, got {len(order)}"
        )
    # What `auto` chooses by must be more than what checks a recipe that was chosen.
    part = len(order) // (4 if options.recipe == AUTO else 10)
    held_back = max(1, min(_MAX_HELD_BACK, part))
    order = np.roll(order, -held_back)
    labels = samples.calibration_labels
    told = labels[order] if read.classes and labels is not None else None
    inputs = read.entry.reals(as_given(read.graph, rows(samples.calibration, order)))
    if read.steps is not None:
        return _calibrated_stream(read, inputs, told, held_back, options, regions)
    outputs, observed = calibrate(read.graph, inputs)

    def distilled(part: slice) -> DistillationData:
        some = None if told is None else told[part]
        return DistillationData(rows(inputs, part), rows(outputs, part), some, read.classes)

    return Calibration(
        observed,
        read.entry.params,
        distilled(slice(-held_back)),
        distilled(slice(-held_back, None)),
        options.weight_bits,
        regions=regions,
    )


def _calibrated_stream(
    read: ReadModel,
    sequences: Arrays,
    labels: NDArray[np.int64] | None,
    held_back: int,
    options: Options,
    regions: bool,
) -> Calibration:
    """The same of sequences: each step is a sample, with the states that the float graph has there.

    Ranges are those of all steps.
    """
    steps = stepped(read.graph, sequences)
    inputs = steps.flat_inputs
    outputs, observed = calibrate(read.graph, inputs, count(inputs))
    first = -held_back * (count(inputs) // count(sequences))
    data, fresh = (
        DistillationData(rows(inputs, part), rows(outputs, part), None, False)
        for part in (slice(first), slice(first, None))
    )
    last = slice(-held_back, None)
    answers = stepped(read.graph, rows(sequences, last)).answers
    some = None if labels is None else labels[last]
    judged = DistillationData(rows(sequences, last), answers, some, read.classes)
    bits = options.weight_bits
    return Calibration(
        observed, read.entry.params, data, fresh, bits, regions=regions, judged=judged
    )


def _few_steps(read: ReadModel) -> Samples:
    """The samples; of a stream, of which every step is computed, the first sequences."""
    samples = read.samples
    if read.steps is None:
        return samples
    (sequences,) = parts(samples.calibration)
    most = max(2, _MAX_CALIBRATION_STEPS // sequences.shape[1])
    labels = samples.calibration_labels
    few = None if labels is None else labels[:most]
    return replace(samples, calibration=sequences[:most], calibration_labels=few)


def _joined(one: DistillationData, other: DistillationData) -> DistillationData:
    labels = None
    if one.labels is not None and other.labels is not None:
        labels = np.concatenate([one.labels, other.labels])
    return DistillationData(
        concatenate([one.inputs, other.inputs]),
        concatenate([one.outputs, other.outputs]),
        labels,
        one.classes,
    )
