"""What quantizing costs, layer by layer, and the fewest layers that must stay float."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Concatenate, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.metrics import answers_changed
from tinsmith_export.options import Options
from tinsmith_export.outputs import side_by_side
from tinsmith_export.quantize.alone import Cost, Report, costs_alone
from tinsmith_export.quantize.evaluation import (
    Evaluation,
    Layers,
    batches,
    evaluate,
    with_rounded_weights,
)
from tinsmith_export.quantize.qat import DistillationData
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.quantize.regions import region
from tinsmith_export.results import Sensitivity, Verdict
from tinsmith_export.verdict import judge_counts
from tinsmith_report.statistics import decibels
from tinsmith_runtime.batch import Arrays, count, rows
from tinsmith_runtime.bundle import StateError

# A network of a hundred layers runs as often over them.
COUNT = 256
# Enough for decibels: a network of 64 steps has thousands of nodes.
_STATES_COUNT = 64
# To choose on: 0.1 points of 2,000 answers are two.
_CHOICE_COUNT = 2000


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
    graph, ranges, bits = quantized.graph, quantized.ranges, quantized.weight_bits
    rounded = with_rounded_weights(graph, ranges, bits)
    layers = [node for node in graph.requantized if node.name in ranges]
    errors = _errors(quantized.exact, rounded, ranges, inputs)
    costs = _costs(quantized, inputs, held_back.classes, report) if alone else {}
    table = []
    for node, (signal, noise, clipped) in zip(layers, errors, strict=True):
        params, cost = ranges[node.name], costs.get(node.name)
        table.append(
            Sensitivity(
                layer=node.name,
                kind=node.kind,
                weight_bits=bits.get(node.name),
                output_range=(params.low, params.high),
                weight_range=(
                    (float(node.kernel.min()), float(node.kernel.max()))
                    if isinstance(node, Weighted)
                    else None
                ),
                clipped=clipped,
                sqnr_db=decibels(signal, noise),
                alone_drop_pp=cost.changed_pp if cost and held_back.classes else None,
                alone_sqnr_db=decibels(cost.signal, cost.noise) if cost else None,
            )
        )
    return tuple(table)


def state_errors(quantized: Quantized, inputs: Arrays) -> tuple[StateError, ...]:
    """How the error of the state of each unrolled recurrent layer grows from step to step.

    Args:
        quantized: the quantized model.
        inputs: the first 64 are taken.

    Returns:
        For each layer the first and the last state that a step reads; nothing of layers of which
        a step reads none.
    """
    states = _unrolled_states(quantized.exact)
    if not states:
        return ()
    graph, ranges = quantized.exact, quantized.ranges
    rounded = with_rounded_weights(quantized.graph, ranges, quantized.weight_bits)
    names = [node.name for node in graph.requantized if node.name in ranges]
    errors = _errors(graph, rounded, ranges, rows(inputs, slice(_STATES_COUNT)))
    sqnr_db = {n: decibels(*error[:2]) for n, error in zip(names, errors, strict=True)}
    return tuple(
        StateError(layer, len(steps), sqnr_db[steps[0]], sqnr_db[steps[-1]])
        for layer, steps in states.items()
        if sqnr_db.keys() >= {steps[0], steps[-1]}
    )


def _unrolled_states(graph: Graph) -> dict[str, list[str]]:
    """Layer to its states, step by step: what a product of all steps reads behind its input."""
    chains: dict[str, list[str]] = {}
    for node in graph.nodes:
        if isinstance(node, Weighted) and node.shared:
            joined = graph.node(node.inputs[0])
            if isinstance(joined, Concatenate) and len(joined.inputs) == 2:
                chains.setdefault(node.shared, []).append(joined.inputs[1])
    return {steps[0].partition("/")[0]: steps for steps in chains.values() if len(steps) > 1}


def _costs(quantized: Quantized, inputs: Arrays, classes: bool, report: Report) -> dict[str, Cost]:
    """What each layer costs alone, its weights and its output rounded."""
    exact, ranges = quantized.exact, quantized.ranges
    rounded = with_rounded_weights(exact, ranges, quantized.weight_bits)
    names = [node.name for node in exact.requantized if node.name in ranges]
    return costs_alone(exact, rounded, ranges, names, inputs, classes, report)


def _errors(
    exact: Graph, rounded: Graph, ranges: Mapping[str, QuantParams], inputs: Arrays
) -> list[tuple[float, float, float]]:
    """Power of each layer's output and of its error, and how much of it its range clips."""
    layers: Layers = {}
    sums = {node.name: np.zeros(3) for node in exact.requantized if node.name in ranges}
    for batch in batches(exact, inputs):
        floats = Evaluation(exact, batch, layers=layers)
        codes = Evaluation(rounded, batch, ranges, layers)
        for node, coarse in zip(exact.nodes, rounded.nodes, strict=True):
            x, y = floats.compute(node), codes.compute(coarse)
            if node.name in sums:
                params = ranges[node.name]
                # What lies within half a step of the range is rounded, not clipped.
                low, high = params.low - params.scale / 2, params.high + params.scale / 2
                outside = tf.cast((x < low) | (x > high), tf.float32)
                squares = (tf.square(x), tf.square(x - y), outside)
                sums[node.name] += [float(tf.reduce_sum(values)) for values in squares]
            floats.forget(node)
            codes.forget(node)
    return [
        (signal, noise, clipped / (count(inputs) * math.prod(exact.node(name).shape)))
        for name, (signal, noise, clipped) in sums.items()
    ]


def keep_fewest(
    quantized: Quantized, held_back: DistillationData, options: Options, report: Report
) -> tuple[Quantized, Verdict]:
    """Keeps as few more layers float as it takes to lose no more than the gate allows.

    Layers are ranked by what rounding the weights of each alone does to the model's outputs, or,
    where layers can make a region, rounding the tensor between them. We bisect for the shortest
    prefix that, kept float, brings the loss under the limit, with a standard error to spare; then
    each layer of it that the limit does without is rounded again. Where rounding what no region can
    hold loses more than the limit, that is the limit here: the verdict says so.

    Args:
        quantized: the quantized model; what it keeps float already stays float.
        held_back: inputs that it was not trained on, and the float model's outputs for them; the
            first 2,000 are taken.
        options: how much may be lost.
        report: hears how many layers are ranked, of how many.

    Returns:
        The model that keeps them, and what its answers to the inputs held back say of the limit.
    """
    others = [node.name for node in quantized.graph.weighted if node not in quantized.kept]
    inputs = rows(held_back.inputs, slice(_CHOICE_COUNT))
    outputs = side_by_side(held_back.outputs)[:_CHOICE_COUNT]
    labels = None if held_back.labels is None else held_back.labels[:_CHOICE_COUNT]
    exact = quantized.exact
    rounded = with_rounded_weights(exact, quantized.ranges, quantized.weight_bits)
    layers: Layers = {}

    def changes(more: Collection[str]) -> tuple[int, int]:
        graph = _mixed(exact, rounded, more)
        found = side_by_side(evaluate(graph, inputs, quantized.ranges_keeping(more), layers))
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
    ranked = _ranked(quantized, rounded, others, rows(inputs, slice(COUNT)), report)
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
    quantized: Quantized, rounded: Graph, names: Sequence[str], inputs: Arrays, report: Report
) -> list[str]:
    """The layers of those names, those first that are best kept float."""
    exact, ranges = quantized.exact, quantized.ranges
    regions: dict[str, tuple[str, ...]] = {}
    if quantized.calibration.regions:
        regions = {one.name: region(exact, one.name) for one in exact.weighted}
    between = [name for name, layers in regions.items() if layers and name in ranges]
    total = len(names) + len(between)
    weights = costs_alone(
        exact, rounded, {}, names, inputs, True, lambda done, _: report(done, total)
    )
    tensors = costs_alone(
        exact,
        exact,
        ranges,
        between,
        inputs,
        True,
        lambda done, _: report(len(names) + done, total),
    )
    ranked = sorted(
        [(weights[name].noise, [name]) for name in names]
        + [(tensors[name].noise, [*regions[name]]) for name in between],
        key=lambda pair: -pair[0],
    )
    distinct = dict.fromkeys(name for _, layers in ranked for name in layers)
    return [name for name in distinct if name in names]


def _mixed(exact: Graph, rounded: Graph, floats: Collection[str]) -> Graph:
    """The rounded graph with the exact weights of some layers."""
    pairs = zip(exact.nodes, rounded.nodes, strict=True)
    return Graph(tuple(one if one.name in floats else other for one, other in pairs))
