"""The export, step by step: Keras in, a proven bundle out."""

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError
from tinsmith_export.frontend.load import prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.predict import run
from tinsmith_export.frontend.trace import trace
from tinsmith_export.inputs.checks import doubt
from tinsmith_export.inputs.entry import Entry, enter
from tinsmith_export.inputs.samples import Samples
from tinsmith_export.inputs.sources import from_calibration
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.metrics import mcnemar_p, parity, top1
from tinsmith_export.options import AUTO, Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.passes.rewrite import rewrite
from tinsmith_export.progress import Progress
from tinsmith_export.quantize.qat import Lesson
from tinsmith_export.quantize.recipe import Quantized, quantize
from tinsmith_export.quantize.sensitivity import keep_fewest, measure
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_export.results import Exported, Sensitivity
from tinsmith_export.targets.convert import convert, convert_floats
from tinsmith_export.verify.divergence import first_difference
from tinsmith_export.verify.golden import COUNT, choose_golden, nudged
from tinsmith_export.verify.proof import (
    activated,
    climb,
    hold_gates,
    require_integer_kernels,
    require_no_saturation,
    run_batches,
)
from tinsmith_runtime.backends import Backend, create_backend
from tinsmith_runtime.batch import Arrays, concatenate, count, joined, parts, rows
from tinsmith_runtime.bundle import sha256, write_bundle
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.manifest import (
    ENGINE_OF_FORMAT,
    FORMAT_VERSION,
    Golden,
    Layer,
    Manifest,
    Parity,
    Quality,
    Training,
    Variant,
)

_MADE_WITH = (
    "tinsmith",
    "tensorflow",
    "tensorflow-model-optimization",
    "onnx",
    "ai-edge-litert",
    "onnxruntime",
)
# Of outputs that are computed in another order: 1.2e-4 in a ResNet50 with random weights.
_TOLERANCE = 5e-4
_MAX_HELD_BACK = 5000
_RANDOM_COUNT = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model on the way, quantized and not yet converted.

    Attributes:
        samples: what it is compiled with.
        graph: rewritten, float.
        reference: the graph as a model.
        entry: what the inputs are.
        classes: whether the one output is logits of classes.
        expected: the Keras model's outputs for the proof.
        logits: the reference's.
        steps: of fine-tuning.
        quantized: what became of the graph.
        sensitivities: what that did to each layer, if it was measured.
        warnings: what may be wrong with the inputs.
    """

    samples: Samples
    graph: Graph
    reference: tf_keras.Model
    entry: Entry
    classes: bool
    expected: Arrays
    logits: Arrays
    steps: int
    quantized: Quantized
    sensitivities: tuple[Sensitivity, ...]
    warnings: tuple[str, ...]


def prepare(model: Any, samples: Samples | str, options: Options, progress: Progress) -> Prepared:
    """Reads a model, quantizes it, and measures what that did to its layers."""
    model = prepared(model, options.input_shape, options.output)
    progress.stage(f"reading {model.name}")
    read = read_graph(trace(model, options.input_shape))
    if isinstance(samples, str):
        shapes = {node.name: node.shape for node in read.inputs}
        shape = shapes if len(shapes) > 1 else read.inputs[0].shape
        samples = from_calibration(samples, shape, options.seed)
    entry = enter(read, samples, options.input_range)
    graph = rewrite(entry.prepared(read))
    classes = _has_classes(graph, samples)
    reference = rebuild(graph)
    lesson, held_back = _lessons(samples, reference, entry, classes, options.seed)
    model_reals = entry.model_reals(samples.proof)
    expected = run(model, model_reals)
    scored = samples.proof_labels if classes else None
    warnings = tuple(doubt(model, read, model_reals, expected, scored))
    for warning in warnings:
        progress.warn(warning)
    logits = run(reference, entry.reals(samples.proof))
    _check_rewrite(graph, expected, activated(logits, _activations(graph)))

    progress.stage(f"quantizing {len(graph.weighted)} layers that multiply")
    steps = options.qat_steps if options.recipe == "qat" else 0
    quantized = quantize(
        graph,
        entry.spans,
        lesson,
        held_back,
        steps,
        options.seed,
        progress.step,
        [name for name in options.keep_float if name != AUTO],
    )
    # What tunes nothing has nothing to hold back.
    fresh = held_back if steps else _joined(held_back, lesson)
    if AUTO in options.keep_float:
        if not classes:
            raise UsageError(
                f"--keep-float {AUTO} needs outputs of classes, whose losses --max-drop-pp limits; "
                "for values, name the layers: --sensitivity shows which"
            )
        progress.stage("choosing the layers to keep float")
        quantized = keep_fewest(quantized, fresh, options.max_drop_pp, progress.layer)
    if options.sensitivity:
        progress.stage(f"measuring {len(quantized.graph.requantized)} layers one by one")
    sensitivities: tuple[Sensitivity, ...] = ()
    if options.sensitivity or options.layer_errors:
        sensitivities = measure(quantized, fresh, options.sensitivity, progress.layer)
    return Prepared(
        samples,
        graph,
        reference,
        entry,
        classes,
        expected,
        logits,
        steps,
        quantized,
        sensitivities,
        warnings,
    )


def compile_bundle(
    model: Any, samples: Samples | str, out: Path, options: Options, progress: Progress
) -> Exported:
    """See `tinsmith_export.compile_model`."""
    work = prepare(model, samples, options, progress)
    samples = work.samples
    entry, quantized, classes, logits = work.entry, work.quantized, work.classes, work.logits
    reals, codes = entry.reals(samples.proof), entry.codes(samples.proof)

    progress.stage("converting to TFLite and ONNX")
    labels = samples.class_names(work.graph.outputs[0].shape[-1]) if classes else ()
    converted = convert(quantized, entry.sources, labels, classes)
    files = converted.files | convert_floats(work.graph, work.reference, entry.sources)
    spans = [quantized.ranges[node.name] for node in quantized.graph.outputs]
    kept = [node.name for node in quantized.kept]
    weighted = quantized.graph.weighted
    kernels = require_integer_kernels(files["model.int8.onnx"], len(weighted), kept)
    require_no_saturation(converted.products)

    progress.stage(f"proving it on {count(samples.proof):,} inputs")
    outputs = {
        file: run_batches(_engine(file, data), reals if _kind_of(file)[0] == "float" else codes)
        for file, data in files.items()
    }
    tflite, onnx = outputs["model.int8.tflite"], outputs["model.int8.onnx"]
    stages = {
        "rewritten": logits,
        options.recipe.upper(): run(quantized.model, reals),
        "TFLite": _reals(spans, tflite),
        "ONNX": _reals(spans, onnx),
    }
    activations = _activations(work.graph)
    ladder = climb(work.expected, stages, activations, samples.proof_labels, classes)
    proven = _parity(files, quantized.graph, codes, tflite, onnx, classes)
    random = _random_parity(files, quantized.graph, options.seed, classes)
    hold_gates(ladder, (proven, random), options.max_drop_pp, kept)

    scored = samples.proof_labels if classes else None
    others = [onnx]
    for data in nudged(files["model.int8.onnx"], kept):
        others.append(run_batches(_engine("model.int8.onnx", data), rows(codes, slice(8 * COUNT))))
    golden, golden_count = choose_golden(samples.proof, tflite, others, logits)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        release=options.release,
        made_with={name: version(name) for name in _MADE_WITH},
        inputs=entry.sources,
        outputs=converted.outputs,
        variants=_variants(files, outputs, scored, proven),
        golden=Golden("golden.npz", len(golden), sha256(golden), golden_count),
        layers=tuple(
            Layer(node.name, node.kind, quantized.weight_bits[node.name]) for node in weighted
        ),
        training=Training(
            samples.name, samples.sha256, model.name, options.recipe, work.steps, options.seed
        ),
        quality=Quality(
            ladder,
            proven,
            random,
            None
            if scored is None
            else mcnemar_p(side_by_side(work.expected), side_by_side(tflite), scored),
        ),
    )
    write_bundle(out, manifest, {**files, "golden.npz": golden})
    return Exported(
        manifest,
        quantized.checkpoints,
        kernels,
        work.sensitivities,
        work.warnings,
        _peak_memory_mb(),
    )


def measure_layers(
    model: Any, samples: Samples | str, options: Options, progress: Progress
) -> tuple[Sensitivity, ...]:
    """See `tinsmith_export.quantize.sensitivity`."""
    return prepare(model, samples, options, progress).sensitivities


def _activations(graph: Graph) -> list[str]:
    return [node.activation for node in graph.outputs]


def _reals(spans: Sequence[QuantParams], codes: Arrays) -> Arrays:
    """What the codes of each output stand for."""
    return joined([span.reals(part) for span, part in zip(spans, parts(codes), strict=True)])


def _has_classes(graph: Graph, samples: Samples) -> bool:
    """Whether the one output is logits of classes; otherwise outputs are values.

    Labels of the proof, or a softmax, say that they are: the labels to tune on say nothing.
    """
    labels = samples.proof_labels
    if len(graph.outputs) > 1:
        if labels is not None:
            names = ", ".join(node.title for node in graph.outputs)
            raise UsageError(
                f"the model has {len(graph.outputs)} outputs ({names}), labels are for one: give "
                "inputs without labels, or compile one output with --output"
            )
        return False
    shape, activation = graph.outputs[0].shape, graph.outputs[0].activation
    if labels is None and not (activation == "softmax" and len(shape) == 1):
        return False
    told = [part for part in (labels, samples.tuning_labels) if part is not None]
    known = max([len(samples.classes), *(int(part.max()) + 1 for part in told)])
    if len(shape) != 1 or shape[0] < known or (samples.classes and shape[0] != known):
        raise UsageError(
            f"the model gives outputs {shape}, {samples.name} has {known} classes: give "
            "inputs without labels where the model does not classify"
        )
    return True


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # bytes there, kB here


def _lessons(
    samples: Samples, reference: tf_keras.Model, entry: Entry, classes: bool, seed: int
) -> tuple[Lesson, Lesson]:
    """Splits the inputs to tune on into those to learn from and those held back."""
    order = np.random.default_rng(seed).permutation(count(samples.tuning))
    if len(order) < 2:
        raise UsageError(f"{samples.name}: expected at least 2 inputs to tune on, got {len(order)}")
    held_back = max(1, min(_MAX_HELD_BACK, len(order) // 10))

    def lesson(chosen: NDArray[np.intp]) -> Lesson:
        inputs, labels = entry.reals(rows(samples.tuning, chosen)), samples.tuning_labels
        told = labels[chosen] if classes and labels is not None else None
        return Lesson(inputs, run(reference, inputs), told, classes)

    return lesson(order[held_back:]), lesson(order[:held_back])


def _joined(one: Lesson, other: Lesson) -> Lesson:
    labels = None
    if one.labels is not None and other.labels is not None:
        labels = np.concatenate([one.labels, other.labels])
    return Lesson(
        concatenate([one.inputs, other.inputs]),
        concatenate([one.outputs, other.outputs]),
        labels,
        one.classes,
    )


def _check_rewrite(graph: Graph, expected: Arrays, found: Arrays) -> None:
    """Compares what the rewritten model gives with what the Keras model gives."""
    for node, wanted, output in zip(graph.outputs, parts(expected), parts(found), strict=True):
        difference = float(np.abs(output - wanted).max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(wanted).max())):
            raise ConversionError(
                f"the rewritten model differs from the Keras model by {difference:.2g}, more than "
                f"{_TOLERANCE:g}, in output `{node.title}`"
            )


def _kind_of(file: str) -> tuple[str, str]:
    """Precision and format, which a file's name says: `model.int8.onnx`."""
    _, precision, form = file.split(".")
    return precision, form


def _engine(file: str, data: bytes) -> Backend:
    return create_backend(ENGINE_OF_FORMAT[_kind_of(file)[1]], data, 1)


def _parity(
    files: Mapping[str, bytes],
    graph: Graph,
    codes: Arrays,
    tflite: Arrays,
    onnx: Arrays,
    classes: bool,
) -> Parity:
    """Compares the outputs of the two int8 files, and looks for where a difference enters."""
    here, there = side_by_side(onnx), side_by_side(tflite)
    differ = (there != here).reshape(len(here), -1).any(axis=1)
    pair = files["model.int8.tflite"], files["model.int8.onnx"]
    layer, lsb = first_difference(*pair, graph, codes, differ)
    return replace(parity(there, here, classes), enters_at=layer, enters_lsb=lsb)


def _random_parity(files: Mapping[str, bytes], graph: Graph, seed: int, classes: bool) -> Parity:
    """Compares the two int8 files on codes that no image has."""
    rng = np.random.default_rng(seed)
    codes = joined(
        [rng.integers(-128, 128, (_RANDOM_COUNT, *node.shape), np.int8) for node in graph.inputs]
    )
    tflite, onnx = (
        run_batches(_engine(file, files[file]), codes)
        for file in ("model.int8.tflite", "model.int8.onnx")
    )
    return _parity(files, graph, codes, tflite, onnx, classes)


def _variants(
    files: Mapping[str, bytes],
    outputs: Mapping[str, Arrays],
    labels: NDArray[np.int64] | None,
    proven: Parity,
) -> tuple[Variant, ...]:
    """Describes each model file by what it itself answered."""
    variants = []
    for file, data in files.items():
        precision, form = _kind_of(file)
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
