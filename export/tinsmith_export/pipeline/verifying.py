"""The fourth stage: what each file gives is compared, and the gates are held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinsmith_export.metrics import mcnemar_p
from tinsmith_export.options import Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.pipeline.converting import ConvertedModel
from tinsmith_export.pipeline.reading import ReadModel
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.targets.target import ModelFile
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_export.verify.gates import hold_gates
from tinsmith_export.verify.golden import COUNT, choose_golden, nudged
from tinsmith_export.verify.parity import compare, compare_on_random_codes
from tinsmith_export.verify.stages import accuracy_by_stage
from tinsmith_runtime.batch import Arrays, count, joined, parts, rows
from tinsmith_runtime.bundle import Quality, Stage, TargetParity


@dataclass(frozen=True, eq=False)
class VerifiedModel:
    """A model that kept its accuracy and computes the same in every file.

    Attributes:
        model: the files.
        outputs: name to what each file gave for the evaluation data.
        quality: accuracy by stage, and parity.
        golden: the bytes of `golden.npz`.
        golden_count: how many vectors are in it.
    """

    model: ConvertedModel
    outputs: Mapping[str, Arrays]
    quality: Quality
    golden: bytes
    golden_count: int


def verify_model(model: ConvertedModel, options: Options, progress: Progress) -> VerifiedModel:
    """Runs every file on the evaluation data, compares them, and chooses the golden vectors.

    Raises:
        GateError: int8 loses too much, or a target differs from the reference.
    """
    read, graph = model.model.read, model.model.quantized.graph
    samples = read.samples
    codes = read.entry.codes(samples.evaluation)
    progress.stage(f"verifying on {count(samples.evaluation):,} inputs")
    int8 = [run_batches(start_engine(file), codes) for file in model.int8]
    stages = _stages(model, options, int8)
    evaluated = compare(model.int8, graph, codes, int8, read.classes)
    random = compare_on_random_codes(model.int8, graph, options.seed, read.classes)
    reference, *others = [file.target.name for file in model.int8]
    parity = tuple(map(TargetParity, others, evaluated, random))
    quality = Quality(stages, reference, parity, _chance(read, int8[0]))
    hold_gates(quality, options.max_drop_pp, model.integers.kept)
    like = [*int8[1:], *_nudged_outputs(model, codes)]
    golden, golden_count = choose_golden(samples.evaluation, int8[0], like, read.logits)
    reals = read.entry.reals(samples.evaluation)
    floats = [run_batches(start_engine(file), reals) for file in model.floats]
    names = [file.name for file in model.files]
    outputs = dict(zip(names, (*int8, *floats), strict=True))
    return VerifiedModel(model, outputs, quality, golden, golden_count)


def _stages(model: ConvertedModel, options: Options, int8: Sequence[Arrays]) -> tuple[Stage, ...]:
    read, quantized = model.model.read, model.model.quantized
    samples = read.samples
    titles = [file.target.title for file in model.int8]
    stages = {
        "rewritten": read.logits,
        options.recipe.upper(): quantized.outputs(read.entry.reals(samples.evaluation)),
        **{title: _reals(quantized, codes) for title, codes in zip(titles, int8, strict=True)},
    }
    names = [file.target.name for file in model.int8]
    targets = dict(zip(titles, names, strict=True))
    return accuracy_by_stage(
        read.expected, stages, targets, read.activations, samples.evaluation_labels, read.classes
    )


def _reals(quantized: Quantized, codes: Arrays) -> Arrays:
    """What the codes of each output stand for."""
    ranges = [quantized.ranges[node.name] for node in quantized.graph.outputs]
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
