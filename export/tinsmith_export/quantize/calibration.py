"""Calibration: what a float graph gives on real inputs, and between which ends its layers stay."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.attention import Softmax
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Node, Rearrangement
from tinsmith_export.quantize.evaluation import Evaluation, Layers, batches
from tinsmith_export.quantize.groups import Observed
from tinsmith_runtime.batch import Arrays, concatenate, rows

# What is observed: the ends of a range change little with more inputs.
_COUNT = 2000
# A sigmoid of more, or of less, has code 127, or -128; so has tanh.
_REACH = {"sigmoid": math.log(511), "tanh": math.atanh(255 / 256)}
# What is so far below the largest number of its row is all but 0 behind a softmax, 1 / 22000.
_BELOW_PEAK = 10.0


def calibrate(graph: Graph, inputs: Arrays, observed: int = _COUNT) -> tuple[Arrays, Observed]:
    """Computes a graph, and measures the output of each layer that has a range of its own.

    Args:
        graph: a rewritten graph.
        inputs: `float32 (N, …)`, as many as the graph has.
        observed: on how many of them, the first, layers are measured.

    Returns:
        The outputs, `float32 (N, …)`, as many as the graph has; and layer name to lowest and
        highest output.

    Raises:
        ConversionError: a layer gives NaN or infinity.
    """
    seen: dict[str, list[tuple[float, float]]] = {node.name: [] for node in graph.requantized}
    peaks: dict[str, float] = {
        node.inputs[0]: math.inf for node in graph.nodes if isinstance(node, Softmax)
    }
    layers: Layers = {}

    def measure(node: Node, output: Any) -> None:
        if node.name in seen:
            seen[node.name].append(_ends(node, output))
        if node.name in peaks:
            lowest = float(tf.reduce_min(tf.reduce_max(output, -1)))
            peaks[node.name] = min(peaks[node.name], lowest)

    first, rest = (
        batches(graph, rows(inputs, part)) for part in (slice(observed), slice(observed, None))
    )
    outputs = [Evaluation(graph, b, layers=layers).finish(graph, hear=measure) for b in first]
    outputs += [Evaluation(graph, b, layers=layers).finish(graph) for b in rest]
    ends = {
        name: (min(low for low, _ in found), max(high for _, high in found))
        for name, found in seen.items()
    }
    return concatenate(outputs), {
        name: _within_reach(graph, name, *ends[name], peaks) for name in ends
    }


def _within_reach(
    graph: Graph, name: str, low: float, high: float, peaks: Mapping[str, float]
) -> tuple[float, float]:
    """The part of a range beyond which all that reads it gives its lowest or its highest code.

    `peaks` has, for what a softmax reads, the lowest of the largest numbers of all rows.
    """
    readers, reaches, lows = list(graph.readers(name)), list[float](), list[float]()
    for node in readers:  # it grows
        if isinstance(node, Rearrangement):
            readers += graph.readers(node.name)
        else:
            reach = _REACH.get(getattr(node, "function", ""), np.inf)
            reaches.append(reach)
            softmax = isinstance(node, Softmax)
            lows.append(peaks[node.inputs[0]] - _BELOW_PEAK if softmax else -reach)
    return max(low, min(lows, default=-np.inf)), min(high, max(reaches, default=np.inf))


def _ends(node: Node, output: Any) -> tuple[float, float]:
    low, high = float(tf.reduce_min(output)), float(tf.reduce_max(output))
    if not np.isfinite([low, high]).all():
        raise ConversionError(
            f"layer `{node.name}` gives NaN or infinity on the calibration inputs"
        )
    return low, high
