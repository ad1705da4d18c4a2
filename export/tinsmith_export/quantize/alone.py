"""What rounding one layer alone does to the outputs of a model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.metrics import answers_changed
from tinsmith_export.outputs import leveled
from tinsmith_export.quantize.evaluation import Evaluation, Layers, batches, evaluate
from tinsmith_runtime.batch import Array, Arrays, count

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Cost:
    """What is lost when one layer alone is rounded.

    Attributes:
        signal: the power of the model's outputs; of several, each is measured by its own spread.
        noise: that of their error.
        changed_pp: how many percent of the answers are others, if outputs are classes.
    """

    signal: float
    noise: float
    changed_pp: float


def costs_alone(
    exact: Graph,
    rounded: Graph,
    ranges: Mapping[str, QuantParams],
    names: Sequence[str],
    inputs: Arrays,
    classes: bool,
    report: Report,
) -> dict[str, Cost]:
    """Rounds one layer after the other, and measures the outputs of the model.

    Args:
        exact: a graph.
        rounded: the same with rounded weights.
        ranges: of the outputs that are rounded too; without them weights alone are.
        names: the layers to round.
        inputs: `float32 (N, …)`, as many as the graph has.
        classes: whether the one output is logits of classes.
        report: hears how many layers are done, of how many.
    """
    layers: Layers = {}
    wanted = evaluate(exact, inputs, layers=layers)
    noise, changed, done = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0), 0
    pairs = list(zip(batches(exact, inputs), batches(exact, wanted), strict=True))
    for batch, exact_outputs in pairs:
        reference = leveled(exact_outputs, wanted)
        walk = _one_rounded(exact, rounded, ranges, names, Evaluation(exact, batch, None, layers))
        for name, outputs in walk:
            found = leveled(outputs, wanted)
            noise[name] += _power(found - reference)
            changed[name] += answers_changed(reference, found, None)[0] if classes else 0
            done += 1
            report(done // len(pairs), len(names))
    signal, share = _power(leveled(wanted, wanted)), 100 / count(inputs)
    return {name: Cost(signal, noise[name], share * changed[name]) for name in names}


def _power(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _one_rounded(
    exact: Graph,
    rounded: Graph,
    ranges: Mapping[str, QuantParams],
    names: Sequence[str],
    evaluation: Evaluation,
) -> Iterator[tuple[str, Arrays]]:
    """The outputs with each layer alone rounded: what comes before it is computed once for all."""
    for index, (node, coarse) in enumerate(zip(exact.nodes, rounded.nodes, strict=True)):
        if node.name in names:
            one = evaluation.fork({node.name: ranges[node.name]} if ranges else {})
            one.compute(coarse)
            one.forget(node)
            yield node.name, one.finish(exact, index + 1)
        evaluation.compute(node)
        evaluation.forget(node)
