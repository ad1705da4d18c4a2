"""The fourth stage: what each file gives is compared, and judged by the gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinsmith_export.errors import ConversionError
from tinsmith_export.inputs.sequences import as_given
from tinsmith_export.metrics import mcnemar_p
from tinsmith_export.options import Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.pipeline.converting import ConvertedModel
from tinsmith_export.pipeline.reading import ReadModel
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.results import Verdict
from tinsmith_export.targets.target import ModelFile
from tinsmith_export.verdict import judge
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_export.verify.gates import accuracy_failures, parity_failures, state_failures
from tinsmith_export.verify.golden import COUNT, choose_golden, nudged
from tinsmith_export.verify.parity import compare, compare_on_random_codes, layers_in_float
from tinsmith_export.verify.stages import accuracy_by_stage
from tinsmith_export.verify.streams import (
    Ran,
    golden_inputs,
    run_file,
    state_errors,
    zero_codes,
)
from tinsmith_runtime.batch import Arrays, count, joined, parts, rows
from tinsmith_runtime.bundle import Quality, Stage, TargetParity


@dataclass(frozen=True, eq=False)
class VerifiedModel:
    """A model of which is known what it loses, and whether every file computes the same.

    Attributes:
        model: the files.
        outputs: name to what each file gave for the evaluation data.
        quality: accuracy by stage, and parity.
        verdicts: whether each target keeps to the limit, by its name; empty where outputs are
            values.
        failures: the gates that failed, a line each.
        golden: the bytes of `golden.npz`; empty where gates failed and there are no vectors.
        golden_count: how many vectors are in it.
    """

    model: ConvertedModel
    outputs: Mapping[str, Arrays]
    quality: Quality
    verdicts: Mapping[str, Verdict]
    failures: tuple[str, ...]
    golden: bytes
    golden_count: int


def verify_model(model: ConvertedModel, options: Options, progress: Progress) -> VerifiedModel:
    """Runs every file on the evaluation data, compares them, and chooses the golden vectors.

    Raises:
        ConversionError: no gate failed, and yet the targets agree on no input.
    """
    read, graph = model.model.read, model.model.quantized.graph
    samples, ranges = read.samples, model.model.quantized.ranges
    given, zeros = as_given(graph, samples.evaluation), zero_codes(graph, ranges)
    codes = read.entry.codes(given)
    progress.stage(f"verifying on {count(samples.evaluation):,} inputs")
    ran = [run_file(file, graph, codes, zeros) for file in model.int8]
    int8 = [one.answers for one in ran]
    quality = _quality(model, options, ran, zeros)
    verdicts = _verdicts(model, options, int8)
    titles = {file.target.name: file.target.title for file in model.int8}
    failures = accuracy_failures(verdicts, titles, options.strict)
    failures += parity_failures(quality, layers_in_float(model.integers))
    failures += state_failures(quality.states)
    like = [*(one.outputs for one in ran[1:]), *_nudged_outputs(model, ran[0].inputs)]
    inputs = golden_inputs(given, ran[0], ranges)
    wanted = read.steps.flat_outputs if read.steps else read.logits
    try:
        golden, golden_count = choose_golden(inputs, ran[0].outputs, like, wanted)
    except ConversionError as error:
        if not failures:
            raise
        failures.append(str(error))
        golden, golden_count = b"", 0
    reals = read.entry.reals(given)  # large, and not needed before
    floats = [run_file(file, read.graph, reals).answers for file in model.floats]
    names = [file.name for file in model.files]
    outputs = dict(zip(names, (*int8, *floats), strict=True))
    return VerifiedModel(model, outputs, quality, verdicts, tuple(failures), golden, golden_count)


def _quality(
    model: ConvertedModel, options: Options, ran: Sequence[Ran], zeros: Mapping[str, int]
) -> Quality:
    """What each stage cost, and how far the files agree."""
    read, graph = model.model.read, model.model.quantized.graph
    classes = read.classes and not graph.states
    outputs = [one.outputs for one in ran]
    evaluated = compare(model.int8, graph, ran[0].inputs, outputs, classes)
    random = compare_on_random_codes(model.int8, graph, options.seed, classes, zeros)
    reference, *others = [file.target.name for file in model.int8]
    states = model.model.states
    if read.steps and ran[0].steps:
        states = state_errors(read.steps, ran[0].steps, model.model.quantized.ranges)
    return Quality(
        _stages(model, options, [one.answers for one in ran]),
        reference,
        tuple(map(TargetParity, others, evaluated, random)),
        _chance(read, ran[0].answers),
        states,
    )


def _verdicts(
    model: ConvertedModel, options: Options, int8: Sequence[Arrays]
) -> dict[str, Verdict]:
    """What each target's answers say of the limit."""
    read = model.model.read
    if not read.classes:
        return {}
    expected, labels = side_by_side(read.expected), read.samples.evaluation_labels
    return {
        file.target.name: judge(expected, side_by_side(codes), labels, options)
        for file, codes in zip(model.int8, int8, strict=True)
    }


def _stages(model: ConvertedModel, options: Options, int8: Sequence[Arrays]) -> tuple[Stage, ...]:
    read, quantized = model.model.read, model.model.quantized
    samples = read.samples
    titles = [file.target.title for file in model.int8]
    stages = {
        "rewritten": read.logits,
        model.model.recipe.upper(): quantized.answers(
            read.entry.reals(as_given(quantized.graph, samples.evaluation))
        ),
        **{title: _reals(quantized, codes) for title, codes in zip(titles, int8, strict=True)},
    }
    names = [file.target.name for file in model.int8]
    targets = dict(zip(titles, names, strict=True))
    return accuracy_by_stage(
        read.expected, stages, targets, read.activations, samples.evaluation_labels, read.classes
    )


def _reals(quantized: Quantized, codes: Arrays) -> Arrays:
    """What the codes of each output stand for."""
    ranges = [quantized.ranges[node.name] for node in quantized.graph.answers]
    return joined([params.reals(part) for params, part in zip(ranges, parts(codes), strict=True)])


def _chance(read: ReadModel, codes: Arrays) -> float | None:
    """McNemar's p of float against int8, where there are labels."""
    labels = read.samples.evaluation_labels
    if labels is None or not read.classes:
        return None
    return mcnemar_p(side_by_side(read.expected), side_by_side(codes), labels)


def _nudged_outputs(model: ConvertedModel, codes: Arrays) -> list[Arrays]:
    """What another CPU may give for the first inputs, where layers are kept float."""
    first = rows(codes, slice(8 * COUNT))
    targets = [file.target for file in model.int8[1:]]
    files = [
        ModelFile(target, "int8", target.emit(changed))
        for changed in nudged(model.integers)
        for target in targets
    ]
    return [run_batches(start_engine(file), first) for file in files]
