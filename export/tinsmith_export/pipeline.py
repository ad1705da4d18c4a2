"""The export, step by step: Keras in, a proven bundle out."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.calibration import Range
from tinsmith_export.doors import load_keras
from tinsmith_export.errors import ConversionError
from tinsmith_export.exporting import Exported, Options, Progress
from tinsmith_export.golden import choose_golden
from tinsmith_export.graph import Graph
from tinsmith_export.onnx import to_onnx
from tinsmith_export.proof import (
    climb,
    hold_gates,
    measure_parity,
    require_integer_kernels,
    require_no_saturation,
    run_batches,
    to_codes,
    top1,
)
from tinsmith_export.reader import read_graph
from tinsmith_export.rebuild import outputs_of, rebuild
from tinsmith_export.recipe import Quantized, quantize
from tinsmith_export.rewrite import rewrite
from tinsmith_export.tflite import products, to_float_tflite, to_int8_tflite
from tinsmith_export.tune import Lesson
from tinsmith_runtime.activation import ACTIVATIONS
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.bundle import sha256, write_bundle
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.manifest import (
    ENGINE_OF_FORMAT,
    FORMAT_VERSION,
    Golden,
    Input,
    Layer,
    Manifest,
    Output,
    Parity,
    Quality,
    Training,
    Variant,
)
from tinsmith_train import Dataset

_MADE_WITH = (
    "tinsmith",
    "tensorflow",
    "tensorflow-model-optimization",
    "tf2onnx",
    "ai-edge-litert",
    "onnxruntime",
)
_TOLERANCE = 1e-4  # of outputs that two Keras versions compute in a different order
_MAX_HELD_BACK = 5000


def compile_bundle(
    path: Path, dataset: Dataset, out: Path, options: Options, progress: Progress
) -> Exported:
    """See `tinsmith_export.export`."""
    keras.utils.set_random_seed(options.seed)
    span = Range(*options.input_range)
    source = _input_spec(dataset, span)
    progress.stage(f"reading {path}")
    model = load_keras(path)
    unrewritten = read_graph(model)
    _check_fit(model, dataset)
    graph, activation = rewrite(unrewritten)
    reference = rebuild(graph)
    lesson, held_back = _lessons(dataset, reference, span, options.seed)
    _check_rewrite(model, held_back, activation)

    progress.stage("quantizing")
    quantized = quantize(
        graph,
        span,
        lesson,
        held_back,
        options.qat_epochs,
        options.seed,
        progress.step,
    )
    progress.stage("converting to TFLite and ONNX")
    files, target = _convert(graph, reference, quantized, source, dataset.labels, activation)
    kernels = require_integer_kernels(files["model.int8.onnx"], len(graph.weighted))
    require_no_saturation(products(files["model.int8.tflite"]))

    progress.stage(f"proving it on {len(dataset.x_test):,} test images")
    reals = _reals(dataset.x_test, span)
    inputs: dict[str, NDArray[Any]] = {"int8": to_codes(dataset.x_test), "float": reals}
    outputs = {}
    for file, data in files.items():
        precision, form = _kind(file)
        backend = create_backend(ENGINE_OF_FORMAT[form], data, 1)
        outputs[file] = run_batches(backend, inputs[precision])
    tflite, onnx = outputs["model.int8.tflite"], outputs["model.int8.onnx"]
    logits = outputs_of(reference, reals)
    recipe = "qat" if options.qat_epochs else "ptq"
    rounded = outputs_of(quantized.model, reals)
    stages = {"float": logits, recipe.upper(): rounded, "TFLite": tflite, "ONNX": onnx}
    ladder = climb(stages, dataset.y_test)
    parity = measure_parity(tflite, onnx)
    hold_gates(ladder, parity, options.max_drop_pp)

    golden, count = choose_golden(dataset.x_test, tflite, onnx, logits)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        made_with={name: version(name) for name in _MADE_WITH},
        input=source,
        output=target,
        variants=_variants(files, outputs, dataset.y_test, parity),
        golden=Golden("golden.npz", len(golden), sha256(golden), count),
        layers=tuple(
            Layer(node.name, node.kind, quantized.weight_bits[node.name]) for node in graph.weighted
        ),
        training=Training(
            dataset.name, dataset.sha256, model.name, recipe, options.qat_epochs, options.seed
        ),
        quality=Quality(ladder, parity),
    )
    write_bundle(out, manifest, {**files, "golden.npz": golden})
    return Exported(manifest, quantized.checkpoints, kernels)


def _input_spec(dataset: Dataset, span: Range) -> Input:
    """Folds the pixels' normalisation into the input's quantization, if it can be."""
    if not (span.high > span.low and math.isfinite(span.high - span.low)):
        raise UsageError(
            f"--input-range: expected LOW < HIGH, both finite, got {span.low:g} {span.high:g}"
        )
    zero_point = -128 - span.low / span.scale
    if not -128 <= zero_point <= 127 or abs(zero_point - round(zero_point)) > 1e-6:
        raise UsageError(
            f"--input-range {span.low:g} {span.high:g}: no pixel value stands for 0, as int8 needs "
            "it: train the model on 0 to 1 or 0 to 255"
        )
    shape = (None, *dataset.x_train.shape[1:])
    scale = float(np.float32(span.scale))
    return Input("image", shape, "uint8", "NHWC", (span.low, span.high), scale, round(zero_point))


def _check_fit(model: Any, dataset: Dataset) -> None:
    takes, gives = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    shape, classes = dataset.x_train.shape[1:], len(dataset.labels)
    if takes != shape:
        raise UsageError(f"the model takes images {takes}, dataset {dataset.name} has {shape}")
    if gives != (classes,):
        raise UsageError(
            f"the model gives outputs {gives}, dataset {dataset.name} has {classes} classes"
        )


def _reals(pixels: NDArray[np.uint8], span: Range) -> NDArray[np.float32]:
    """What the float model takes for pixels."""
    return pixels * np.float32(span.scale) + np.float32(span.low)


def _lessons(
    dataset: Dataset, reference: tf_keras.Model, span: Range, seed: int
) -> tuple[Lesson, Lesson]:
    """Splits the training images into those to learn from and those held back."""
    order = np.random.default_rng(seed).permutation(len(dataset.x_train))
    held_back = max(1, min(_MAX_HELD_BACK, len(order) // 10))

    def lesson(chosen: NDArray[np.intp]) -> Lesson:
        inputs = _reals(dataset.x_train[chosen], span)
        return Lesson(inputs, outputs_of(reference, inputs), dataset.y_train[chosen])

    return lesson(order[held_back:]), lesson(order[:held_back])


def _check_rewrite(model: Any, sample: Lesson, activation: str) -> None:
    """Compares the rewritten model, in tf_keras, with the Keras model it came from."""
    expected = outputs_of(model, sample.inputs)
    found = ACTIVATIONS[activation](sample.logits)
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ConversionError(
            f"the rewritten model differs from the Keras model by {difference:.2g}, more than "
            f"{_TOLERANCE:g}"
        )


def _convert(
    graph: Graph,
    reference: tf_keras.Model,
    quantized: Quantized,
    source: Input,
    labels: tuple[str, ...],
    activation: str,
) -> tuple[dict[str, bytes], Output]:
    """Makes the four model files; the int8 TFLite file says what the output's codes mean."""
    int8, floats = to_int8_tflite(quantized.model), to_float_tflite(reference)
    found = create_backend("litert", int8, 1)
    if (found.input.scale, found.input.zero_point) != (source.scale, source.zero_point):
        raise ConversionError(f"TFLite's input is {found.input}, expected {source}")
    scale, zero_point = found.output.scale, found.output.zero_point
    shape = (None, *found.output.shape)
    target = Output("logits", shape, scale, zero_point, labels, activation)
    layers = [node.name for node in graph.weighted]
    files = {
        "model.int8.tflite": int8,
        "model.int8.onnx": to_onnx(int8, layers, source, target),
        "model.float.tflite": floats,
        "model.float.onnx": to_onnx(floats, layers, source, target),
    }
    return files, target


def _kind(file: str) -> tuple[str, str]:
    """Precision and format, which a file's name says: `model.int8.onnx`."""
    _, precision, form = file.split(".")
    return precision, form


def _variants(
    files: Mapping[str, bytes],
    outputs: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64],
    parity: Parity,
) -> tuple[Variant, ...]:
    """Describes each model file by what it itself answered."""
    variants = []
    for file, data in files.items():
        precision, form = _kind(file)
        variants.append(
            Variant(
                id=f"{precision}-{form}",
                file=file,
                format=form,
                precision=precision,
                size_bytes=len(data),
                sha256=sha256(data),
                accuracy=top1(outputs[file], labels),
                parity=parity if file == "model.int8.onnx" else None,
            )
        )
    return tuple(variants)
