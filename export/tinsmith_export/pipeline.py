"""The export, step by step: Keras in, a proven bundle out."""

import resource
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.convert import convert, convert_floats
from tinsmith_export.doors import prepared
from tinsmith_export.doubts import doubt
from tinsmith_export.entry import Entry, enter
from tinsmith_export.errors import ConversionError
from tinsmith_export.exporting import Exported, Options, Progress
from tinsmith_export.golden import choose_golden
from tinsmith_export.measures import mcnemar_p, parity, top1
from tinsmith_export.proof import (
    climb,
    hold_gates,
    require_integer_kernels,
    require_no_saturation,
    run_batches,
)
from tinsmith_export.reader import read_graph
from tinsmith_export.rebuild import rebuild, run
from tinsmith_export.recipe import quantize
from tinsmith_export.rewrite import rewrite
from tinsmith_export.samples import Samples, from_calibration
from tinsmith_export.trace import trace
from tinsmith_export.tune import Lesson
from tinsmith_runtime.activation import ACTIVATIONS
from tinsmith_runtime.backends import Backend, create_backend
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
_TOLERANCE = 1e-4  # of outputs that two Keras versions compute in a different order
_MAX_HELD_BACK = 5000
_RANDOM_COUNT = 64


def compile_bundle(
    model: Any, samples: Samples | str, out: Path, options: Options, progress: Progress
) -> Exported:
    """See `tinsmith_export.compile_model`."""
    keras.utils.set_random_seed(options.seed)
    model = prepared(model, options.input_shape, options.output)
    progress.stage(f"reading {model.name}")
    read = read_graph(trace(model, options.input_shape))
    if isinstance(samples, str):
        samples = from_calibration(samples, read.nodes[0].shape, options.seed)
    entry = enter(read.nodes[0].shape, samples, options.input_range)
    graph, activation = rewrite(entry.prepared(read))
    classes = _has_classes(graph.output.shape, activation, samples)
    reference = rebuild(graph)
    lesson, held_back = _lessons(samples, reference, entry, options.seed)
    model_reals = entry.model_reals(samples.proof)
    expected = run(model, model_reals)
    scored = samples.proof_labels if classes else None
    warnings = tuple(doubt(model, read, model_reals, expected, scored))
    for warning in warnings:
        progress.warn(warning)
    reals, codes = entry.reals(samples.proof), entry.codes(samples.proof)
    logits = run(reference, reals)
    _check_rewrite(expected, ACTIVATIONS[activation](logits))

    progress.stage(f"quantizing {len(graph.weighted)} layers that multiply")
    steps = options.qat_steps if options.recipe == "qat" else 0
    quantized = quantize(graph, entry.span, lesson, held_back, steps, options.seed, progress.step)
    progress.stage("converting to TFLite and ONNX")
    labels = samples.class_names(graph.output.shape[-1]) if classes else ()
    converted = convert(quantized, entry.source, labels, activation, classes)
    files, target = converted.files | convert_floats(graph, reference), converted.output
    span = quantized.ranges[quantized.graph.output.name]
    kernels = require_integer_kernels(files["model.int8.onnx"], len(quantized.graph.weighted))
    require_no_saturation(converted.products)

    progress.stage(f"proving it on {len(samples.proof):,} inputs")
    outputs = {
        file: run_batches(_engine(file, data), reals if kind_of(file)[0] == "float" else codes)
        for file, data in files.items()
    }
    tflite, onnx = outputs["model.int8.tflite"], outputs["model.int8.onnx"]
    stages = {
        "rewritten": logits,
        options.recipe.upper(): run(quantized.model, reals),
        "TFLite": span.reals(tflite),
        "ONNX": span.reals(onnx),
    }
    ladder = climb(expected, stages, activation, samples.proof_labels, classes)
    proven = parity(tflite, onnx, classes)
    random = _random_parity(files, codes.shape[1:], options.seed, classes)
    hold_gates(ladder, (proven, random), options.max_drop_pp)

    golden, count = choose_golden(samples.proof, tflite, onnx, logits)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        made_with={name: version(name) for name in _MADE_WITH},
        input=entry.source,
        output=target,
        variants=_variants(files, outputs, scored, proven),
        golden=Golden("golden.npz", len(golden), sha256(golden), count),
        layers=tuple(
            Layer(node.name, node.kind, quantized.weight_bits[node.name])
            for node in quantized.graph.weighted
        ),
        training=Training(
            samples.name, samples.sha256, model.name, options.recipe, steps, options.seed
        ),
        quality=Quality(
            ladder, proven, random, None if scored is None else mcnemar_p(expected, tflite, scored)
        ),
    )
    write_bundle(out, manifest, {**files, "golden.npz": golden})
    return Exported(manifest, quantized.checkpoints, kernels, warnings, _peak_memory_mb())


def _has_classes(shape: tuple[int, ...], activation: str, samples: Samples) -> bool:
    """Whether the outputs are logits of classes, or values."""
    labels = samples.proof_labels
    if labels is not None:
        known = len(samples.classes) or int(labels.max()) + 1
        if len(shape) != 1 or shape[0] < known or (samples.classes and shape[0] != known):
            raise UsageError(
                f"the model gives outputs {shape}, {samples.name} has {known} classes: give "
                "inputs without labels where the model does not classify"
            )
    return samples.proof_labels is not None or (activation == "softmax" and len(shape) == 1)


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # bytes there, kB here


def _lessons(
    samples: Samples, reference: tf_keras.Model, entry: Entry, seed: int
) -> tuple[Lesson, Lesson]:
    """Splits the inputs to tune on into those to learn from and those held back."""
    order = np.random.default_rng(seed).permutation(len(samples.tuning))
    held_back = max(1, min(_MAX_HELD_BACK, len(order) // 10))

    def lesson(chosen: NDArray[np.intp]) -> Lesson:
        inputs, labels = entry.reals(samples.tuning[chosen]), samples.tuning_labels
        return Lesson(inputs, run(reference, inputs), None if labels is None else labels[chosen])

    return lesson(order[held_back:]), lesson(order[:held_back])


def _check_rewrite(expected: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    """Compares what the rewritten model gives with what the Keras model gives."""
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ConversionError(
            f"the rewritten model differs from the Keras model by {difference:.2g}, more than "
            f"{_TOLERANCE:g}"
        )


def kind_of(file: str) -> tuple[str, str]:
    """Precision and format, which a file's name says: `model.int8.onnx`."""
    _, precision, form = file.split(".")
    return precision, form


def _engine(file: str, data: bytes) -> Backend:
    return create_backend(ENGINE_OF_FORMAT[kind_of(file)[1]], data, 1)


def _random_parity(
    files: Mapping[str, bytes], shape: tuple[int, ...], seed: int, classes: bool
) -> Parity:
    """Compares the two int8 files on codes that no image has."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (_RANDOM_COUNT, *shape), np.int8)
    tflite, onnx = (
        run_batches(_engine(file, files[file]), codes)
        for file in ("model.int8.tflite", "model.int8.onnx")
    )
    return parity(tflite, onnx, classes)


def _variants(
    files: Mapping[str, bytes],
    outputs: Mapping[str, NDArray[Any]],
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
                accuracy=None if labels is None else top1(outputs[file], labels),
                parity=proven if file == "model.int8.onnx" else None,
            )
        )
    return tuple(variants)
