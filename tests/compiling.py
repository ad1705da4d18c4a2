"""Takes a small model all the way but for its bundle: what `tinsmith export --recipe ptq` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.quiet import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from narrow import array  # noqa: E402

from tinsmith_export.frontend.operators import read_graph  # noqa: E402
from tinsmith_export.frontend.predict import run  # noqa: E402
from tinsmith_export.frontend.trace import trace  # noqa: E402
from tinsmith_export.inputs.entry import Entry, enter  # noqa: E402
from tinsmith_export.inputs.samples import Samples  # noqa: E402
from tinsmith_export.ir.graph import Graph  # noqa: E402
from tinsmith_export.metrics import parity  # noqa: E402
from tinsmith_export.outputs import side_by_side  # noqa: E402
from tinsmith_export.passes.rewrite import rewrite  # noqa: E402
from tinsmith_export.pipeline import converting  # noqa: E402
from tinsmith_export.quantize.calibration import calibrate  # noqa: E402
from tinsmith_export.quantize.qat import DistillationData  # noqa: E402
from tinsmith_export.quantize.recipe import Calibration, Quantized, quantize  # noqa: E402
from tinsmith_export.reference.rebuild import rebuild  # noqa: E402
from tinsmith_export.targets.lower import lower  # noqa: E402
from tinsmith_export.targets.registry import TARGETS  # noqa: E402
from tinsmith_export.targets.target import (  # noqa: E402
    FloatModel,
    IntegerModel,
    ModelFile,
    Product,
)
from tinsmith_export.verify.engines import (  # noqa: E402
    require_same_tensors,
    run_batches,
    start_engine,
)
from tinsmith_export.verify.pairs import require_exact_pairs  # noqa: E402
from tinsmith_runtime.batch import Arrays, joined, parts  # noqa: E402
from tinsmith_runtime.bundle import Output, Parity, PixelRanges  # noqa: E402
from tinsmith_runtime.executor import ACTIVATIONS  # noqa: E402

# Outputs that two Kerases compute in a different order, of a size of about 1.
TOLERANCE = 1e-4
ZERO_TO_ONE = PixelRanges(((0.0, 1.0),))


@dataclass(frozen=True)
class Compiled:
    """What a model became; `inputs` are those that it was calibrated on."""

    graph: Graph
    entry: Entry
    quantized: Quantized
    integers: IntegerModel
    files: Mapping[str, bytes]
    kernels: Mapping[str, Mapping[str, int]]
    parity: Parity
    inputs: Arrays

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the int8 files give."""
        return self.integers.outputs

    @property
    def products(self) -> tuple[Product, ...]:
        """What the layers multiply by."""
        return tuple(self.integers.products.values())

    @property
    def output(self) -> Output:
        """The one output."""
        (output,) = self.outputs
        return output

    @property
    def codes(self) -> Arrays:
        """The inputs as the int8 files take them."""
        return self.entry.codes(self.inputs)


def int8_files(model: IntegerModel) -> dict[str, bytes]:
    """The int8 file of each target that can hold the model, by its name."""
    files, _ = converting.int8_files(model, TARGETS, may_leave_out=True)
    return {file.name: file.data for file in files}


def model_file(name: str, data: bytes) -> ModelFile:
    """An int8 file of that name."""
    return next(file for t in TARGETS if (file := ModelFile(t, "int8", data)).name == name)


def settle(model: Any, seed: int = 5) -> Any:
    """Gives a model weights, statistics and biases that no rewrite could lose unnoticed."""
    rng = np.random.default_rng(seed)
    weights = []
    for variable in model.weights:
        name = getattr(variable, "path", variable.name)
        size = tuple(variable.shape)
        if "kernel" in name:
            fan_in = max(1, int(np.prod(size[:-1])))
            weights.append(rng.normal(0, (1 / fan_in) ** 0.5, size))
        elif "alpha" in name:
            weights.append(rng.uniform(0.1, 0.4, size))
        elif "gamma" in name or "variance" in name:
            weights.append(rng.uniform(0.5, 1.5, size))
        elif "count" in name or "seed" in name:
            weights.append(np.asarray(variable))
        else:
            weights.append(rng.normal(0, 0.3, size))
    model.set_weights(weights)
    return model


def random_inputs(shape: tuple[int, ...], count: int, seed: int = 1) -> NDArray[Any]:
    """Pixels for an image model, else features."""
    rng = np.random.default_rng(seed)
    if len(shape) == 3:
        return rng.integers(0, 256, (count, *shape), np.uint8)
    return rng.normal(size=(count, *shape)).astype(np.float32)


def rewritten(model: Any) -> Graph:
    """The rewritten graph of a model."""
    return rewrite(read_graph(trace(model)))


def require_same_outputs(
    graph: Graph, model: Any, inputs: Arrays, given: Arrays | None = None
) -> None:
    """Asserts that a rewritten graph gives what its Keras model gives, which may take others."""
    given = inputs if given is None else given
    expected, found = parts(called(model, given)), parts(called(rebuild(graph), inputs))
    for node, wanted, output in zip(graph.outputs, expected, found, strict=True):
        size = max(1.0, float(np.abs(wanted).max()))
        activated = ACTIVATIONS[node.activation](output)
        np.testing.assert_allclose(activated, wanted, rtol=0, atol=TOLERANCE * size)


def called(model: Any, inputs: Arrays) -> Arrays:
    """What a Keras model gives for all inputs at once."""
    try:
        found = model(list(inputs) if isinstance(inputs, tuple) else inputs, training=False)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return run(model, inputs)  # images whose channels come first
    return joined([*map(np.asarray, found)] if isinstance(found, list | tuple) else [found.numpy()])


def compiled(
    model: Any,
    count: int = 100,
    inputs: Arrays | None = None,
    floats: bool = False,
    weight_bits: int = 8,
    pixels: PixelRanges = ZERO_TO_ONE,
) -> Compiled:
    """Compiles a model by post-training quantization.

    Asserts on the way that the rewritten model gives what Keras gives, and that all files multiply
    integers alone. How far LiteRT and ONNX Runtime agree is in `parity`. The float files are made
    on demand: they take as long as the int8 ones.
    """
    graph = read_graph(trace(model))
    if inputs is None:
        inputs = joined([random_inputs(node.shape, count) for node in graph.inputs])
    samples = Samples("random", "0" * 64, inputs, None, inputs, None, ())
    entry = enter(graph, samples, pixels)
    graph = rewrite(entry.prepared(graph))
    reals = entry.reals(inputs)
    require_same_outputs(graph, model, reals, entry.model_reals(inputs))
    reference = rebuild(graph)
    classes = len(graph.outputs) == len(graph.outputs[0].shape) == 1
    outcome, observed = calibrate(graph, reals)
    data = DistillationData(reals, outcome, None, classes)
    quantized = quantize(graph, Calibration(observed, entry.params, data, data, weight_bits))
    require_exact_pairs(quantized.graph, quantized.ranges)
    labels = samples.class_names(graph.outputs[0].shape[-1]) if classes else ()
    integers = lower(quantized, entry.sources, labels, classes)
    count = len(quantized.graph.products)
    codes = entry.codes(inputs)
    files, kernels, outputs = int8_files(integers), {}, []
    for name, content in files.items():
        file = model_file(name, content)
        require_same_tensors(file, integers.inputs, integers.outputs)
        kernels[file.target.name] = file.target.integer_kernels(content, count)
        outputs.append(run_batches(start_engine(file), codes))
    if floats:
        exact = FloatModel(graph, reference, tuple(source.name for source in entry.sources))
        able = [target for target in TARGETS if target.has_float]
        files |= {f"model.float.{target.name}": target.emit_float(exact) for target in able}
    return Compiled(
        graph,
        entry,
        quantized,
        integers,
        files,
        kernels,
        parity(side_by_side(outputs[0]), side_by_side(outputs[1]), classes),
        inputs,
    )


def spoiled_classifier(
    names: Sequence[str], spoil: Callable[[Any, Any], None]
) -> tuple[Compiled, DistillationData]:
    """A compiled classifier of `uint8 (8, 8, 1)` images whose weights were changed before.

    Args:
        names: of its first three layers, convolutions; `answer` is the last.
        spoil: changes the first two.
    """
    layers = keras.layers
    model = settle(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(6, 3, activation="relu", name=names[0]),
                layers.Conv2D(8, 3, activation="relu", name=names[1]),
                layers.Conv2D(8, 1, activation="relu", name=names[2]),
                layers.Flatten(),
                layers.Dense(4, name="answer"),
            ]
        )
    )
    spoil(*map(model.get_layer, names[:2]))
    inputs = random_inputs((8, 8, 1), 400)
    kernel, bias = model.get_layer("answer").get_weights()
    bias -= array(run(model, inputs / np.float32(255))).mean(axis=0)  # so that no class always wins
    model.get_layer("answer").set_weights([kernel, bias])
    made = compiled(model, inputs=inputs)
    reals = made.entry.reals(made.inputs)
    return made, DistillationData(reals, run(rebuild(made.graph), reals), None, True)
