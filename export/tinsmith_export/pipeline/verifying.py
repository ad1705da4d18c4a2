"""The fourth stage: what each file gives is compared, and the gates are held."""

from collections.abc import Mapping
from dataclasses import dataclass

from tinsmith_export.frontend.predict import run
from tinsmith_export.metrics import mcnemar_p
from tinsmith_export.options import Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.pipeline.converting import ConvertedModel
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.verify.engines import kind_of, run_batches, start_engine
from tinsmith_export.verify.golden import COUNT, choose_golden, nudged
from tinsmith_export.verify.parity import compare, compare_on_random_codes
from tinsmith_export.verify.proof import climb, hold_gates
from tinsmith_runtime.batch import Arrays, count, joined, parts, rows
from tinsmith_runtime.bundle import Quality


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
        GateError: int8 loses too much, or the engines disagree.
    """
    read, quantized, files = model.model.read, model.model.quantized, model.files
    samples, classes, graph = read.samples, read.classes, quantized.graph
    reals, codes = read.entry.reals(samples.proof), read.entry.codes(samples.proof)
    progress.stage(f"proving it on {count(samples.proof):,} inputs")
    outputs = {
        file: run_batches(start_engine(file, data), reals if _is_float(file) else codes)
        for file, data in files.items()
    }
    tflite, onnx = outputs["model.int8.tflite"], outputs["model.int8.onnx"]
    stages = {
        "rewritten": read.logits,
        options.recipe.upper(): run(quantized.model, reals),
        "TFLite": _reals(quantized, tflite),
        "ONNX": _reals(quantized, onnx),
    }
    ladder = climb(read.expected, stages, read.activations, samples.proof_labels, classes)
    proven = compare(files, graph, codes, outputs, classes)
    random = compare_on_random_codes(files, graph, options.seed, classes)
    kept = [node.name for node in quantized.kept]
    hold_gates(ladder, (proven, random), options.max_drop_pp, kept)
    golden, golden_count = choose_golden(
        samples.proof, tflite, [onnx, *_nudged_outputs(files, kept, codes)], read.logits
    )
    p = None
    if classes and samples.proof_labels is not None:
        p = mcnemar_p(side_by_side(read.expected), side_by_side(tflite), samples.proof_labels)
    return VerifiedModel(model, outputs, Quality(ladder, proven, random, p), golden, golden_count)


def _is_float(file: str) -> bool:
    return kind_of(file)[0] == "float"


def _reals(quantized: Quantized, codes: Arrays) -> Arrays:
    """What the codes of each output stand for."""
    spans = [quantized.ranges[node.name] for node in quantized.graph.outputs]
    return joined([span.reals(part) for span, part in zip(spans, parts(codes), strict=True)])


def _nudged_outputs(files: Mapping[str, bytes], kept: list[str], codes: Arrays) -> list[Arrays]:
    """What another CPU may give for the first inputs, where layers are kept float."""
    first = rows(codes, slice(8 * COUNT))
    return [
        run_batches(start_engine("model.int8.onnx", data), first)
        for data in nudged(files["model.int8.onnx"], kept)
    ]
