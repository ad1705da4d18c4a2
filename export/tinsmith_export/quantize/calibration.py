"""Calibration: the lowest and the highest output of every layer on real inputs."""

from typing import Any

import numpy as np
import tensorflow as tf

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Node
from tinsmith_export.quantize.evaluation import Evaluation, Layers, batches
from tinsmith_runtime.batch import Arrays


def calibrate(graph: Graph, inputs: Arrays) -> dict[str, tuple[float, float]]:
    """Measures the output of each layer that has a range of its own.

    Args:
        graph: a rewritten graph.
        inputs: `float32 (N, …)`, as many as the graph has.

    Returns:
        Layer name to lowest and highest output.

    Raises:
        ConversionError: a layer gives NaN or infinity.
    """
    seen: dict[str, list[tuple[float, float]]] = {node.name: [] for node in graph.requantized}
    layers: Layers = {}
    for batch in batches(graph, inputs):
        evaluation = Evaluation(graph, batch, layers=layers)
        for node in graph.nodes:
            output = evaluation.compute(node)
            evaluation.forget(node)
            if node.name in seen:
                seen[node.name].append(_ends(node, output))
    return {
        name: (min(low for low, _ in found), max(high for _, high in found))
        for name, found in seen.items()
    }


def _ends(node: Node, output: Any) -> tuple[float, float]:
    low, high = float(tf.reduce_min(output)), float(tf.reduce_max(output))
    if not np.isfinite([low, high]).all():
        raise ConversionError(
            f"layer `{node.name}` gives NaN or infinity on the calibration inputs"
        )
    return low, high
