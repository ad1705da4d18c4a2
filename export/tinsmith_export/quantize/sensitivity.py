"""What quantizing costs, layer by layer, and the fewest layers that must stay float."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Weighted
from tinsmith_export.metrics import agreement, answers_changed
from tinsmith_export.options import Options
from tinsmith_export.outputs import leveled, side_by_side
from tinsmith_export.quantize.partial import SwitchedModel
from tinsmith_export.quantize.qat import DistillationData
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.reference.rebuild import rebuild, tensors
from tinsmith_export.results import Sensitivity, Verdict
from tinsmith_export.verdict import judge_counts
from tinsmith_report.statistics import decibels, sqnr_db
from tinsmith_runtime.batch import Arrays, count, rows

_BATCH_SIZE = 32
# A network of a hundred layers runs as often over them.
COUNT = 256
# To choose on: 0.1 points of 2,000 answers are two.
_CHOICE_COUNT = 2000

Report = Callable[[int, int], None]


def measure(
    quantized: Quantized, held_back: DistillationData, alone: bool, report: Report
) -> tuple[Sensitivity, ...]:
    """Measures every layer whose output is rounded, in the order of computation.

    Args:
        quantized: the quantized model.
        held_back: inputs that it was not trained on; the first 256 are taken.
        alone: whether to measure too what each layer costs alone, which takes a run a layer.
        report: hears how many layers are done, of how many.
    """
    inputs = rows(held_back.inputs, slice(COUNT))
    errors = _errors(quantized, inputs)
    layers = quantized.graph.requantized
    costs: dict[str, tuple[float | None, float | None]] = {}
    if alone:
        model = SwitchedModel(quantized.exact, quantized.ranges, quantized.weight_bits)
        exact = model.run(inputs, (), ())
        reference = leveled(exact, exact)
        for done, node in enumerate(layers, 1):
            kernels = {node.name} & quantized.weight_bits.keys()
            found = model.run(inputs, kernels, {node.name})
            pair = reference, leveled(found, exact)
            lost = 100 * (1 - agreement(*pair)) if held_back.classes else None
            costs[node.name] = lost, sqnr_db(*pair)
            report(done, len(layers))
    table = []
    for node, (signal, noise, clipped) in zip(layers, errors, strict=True):
        params = quantized.ranges[node.name]
        lost, alone_db = costs.get(node.name, (None, None))
        table.append(
            Sensitivity(
                layer=node.name,
                kind=node.kind,
                weight_bits=quantized.weight_bits.get(node.name),
                output_range=(params.low, params.high),
                weight_range=(
                    (float(node.kernel.min()), float(node.kernel.max()))
                    if isinstance(node, Weighted)
                    else None
                ),
                clipped=clipped,
                sqnr_db=decibels(signal, noise),
                alone_drop_pp=lost,
                alone_sqnr_db=alone_db,
            )
        )
    return tuple(table)


def _errors(quantized: Quantized, inputs: Arrays) -> list[tuple[float, float, float]]:
    """Power of each layer's output and of its error, and how much of it its range clips."""
    layers = quantized.graph.requantized
    pair = []
    for model, prefix in ((rebuild(quantized.exact), ""), (quantized.model, "quant_")):
        outputs = [model.get_layer(prefix + node.name).output for node in layers]
        pair.append(tf_keras.Model(model.input, outputs))
    ranges = [quantized.ranges[node.name] for node in layers]

    @tf.function  # type: ignore[untyped-decorator]
    def sums(batch: Any) -> tf.Tensor:
        exact, rounded = (tf.nest.flatten(model(batch, training=False)) for model in pair)
        found = []
        for x, y, params in zip(exact, rounded, ranges, strict=True):
            # What lies within half a step of the range is rounded, not clipped.
            low, high = params.low - params.scale / 2, params.high + params.scale / 2
            outside = tf.cast((x < low) | (x > high), tf.float32)
            squares = (tf.square(x), tf.square(x - y), outside)
            found.append([tf.reduce_sum(values) for values in squares])
        return tf.stack(found)

    size = count(inputs)
    starts = range(0, size, _BATCH_SIZE)
    batches = [sums(tensors(rows(inputs, slice(s, s + _BATCH_SIZE)))).numpy() for s in starts]
    totals: NDArray[np.float64] = np.sum(batches, axis=0, dtype=np.float64)
    sizes = [size * np.prod(node.shape) for node in layers]
    return [
        (float(signal), float(noise), float(clipped / size))
        for (signal, noise, clipped), size in zip(totals, sizes, strict=True)
    ]


def keep_fewest(
    quantized: Quantized, held_back: DistillationData, options: Options, report: Report
) -> tuple[Quantized, Verdict]:
    """Keeps as few more layers float as it takes to lose no more than the gate allows.

    Layers are ranked by what rounding the weights of each alone does to the model's outputs. We
    bisect for the shortest prefix that, kept float, brings the loss under the limit, with a
    standard error to spare; then each layer of it that the limit does without is rounded again.
    Where rounding the activations alone loses more than the limit, that is the limit here: the
    verdict says so.

    Args:
        quantized: the quantized model; what it keeps float already stays float.
        held_back: inputs that it was not trained on, and the float model's outputs for them; the
            first 2,000 are taken.
        options: how much may be lost.
        report: hears how many layers are ranked, of how many.

    Returns:
        The model that keeps them, and what its answers to the inputs held back say of the limit.
    """
    model = SwitchedModel(quantized.exact, quantized.ranges, quantized.weight_bits)
    kept = {node.name for node in quantized.kept}
    others = [node.name for node in quantized.graph.weighted if node.name not in kept]

    inputs = rows(held_back.inputs, slice(_CHOICE_COUNT))
    outputs = side_by_side(held_back.outputs)[:_CHOICE_COUNT]
    labels = None if held_back.labels is None else held_back.labels[:_CHOICE_COUNT]

    def changes(more: Collection[str]) -> tuple[int, int]:
        found = side_by_side(model.run(inputs, set(others) - set(more)))
        return answers_changed(outputs, found, labels)

    def loss(more: Collection[str]) -> float:
        lost, won = changes(more)
        # A standard error on the safe side: other inputs evaluate the result.
        return 100 * (lost - won + math.sqrt(lost + won)) / len(outputs)

    def chosen(more: Sequence[str]) -> tuple[Quantized, Verdict]:
        verdict = judge_counts(*changes(more), len(outputs), labels is not None, options)
        return quantized.keeping(more) if more else quantized, verdict

    limit_pp = options.limit_pp(labels is not None)
    if loss(()) <= limit_pp:
        return chosen(())
    limit_pp = max(limit_pp, loss(others))
    ranked = _ranked(model, others, rows(inputs, slice(COUNT)), report)
    # How many are enough: more layers never lose more, but for chance.
    few, enough = 0, len(ranked)
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if loss(ranked[:middle]) <= limit_pp else (middle, enough)
    more = ranked[:enough]
    for name in reversed(ranked[:enough]):
        fewer = [other for other in more if other != name]
        if loss(fewer) <= limit_pp:
            more = fewer
    return chosen(more)


def _ranked(
    model: SwitchedModel, names: Sequence[str], inputs: Arrays, report: Report
) -> list[str]:
    exact = side_by_side(model.run(inputs, (), ()))
    noise = {}
    for done, name in enumerate(names, 1):
        noise[name] = float(np.square(side_by_side(model.run(inputs, {name}, ())) - exact).sum())
        report(done, len(names))
    return sorted(names, key=lambda name: -noise[name])
