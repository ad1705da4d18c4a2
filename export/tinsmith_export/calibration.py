"""Calibration: the range of every layer's output on real inputs, and which layers share one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError, UnsupportedLayerError
from tinsmith_export.graph import RELUS, Graph, Node
from tinsmith_export.rebuild import outputs_of, rebuild

# Below it TensorFlow's converter makes up a range of its own.
_MIN_SPAN = 1e-6


@dataclass(frozen=True)
class Range:
    """The real values that the int8 codes of a tensor span; zero lies within."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The step between two codes."""
        return (self.high - self.low) / 255


def calibrate(graph: Graph, inputs: NDArray[np.float32]) -> dict[str, Range]:
    """Measures the range of the output of each layer that multiplies or adds on real inputs.

    Args:
        graph: a rewritten graph.
        inputs: `float32 (N, H, W, C)`.

    Returns:
        Layer name to range. After a ReLU the minimum is exactly 0, so that the zero point is
        exactly -128 and the clamp of the integer output is the ReLU.
    """
    model = rebuild(graph)
    names = [node.name for node in graph.ranged]
    probe = tf_keras.Model(model.input, [model.get_layer(name).output for name in names])
    outputs = outputs_of(probe, inputs)
    outputs = outputs if len(names) > 1 else [outputs]
    ranges = {}
    for name, output in zip(names, outputs, strict=True):
        low, high = min(0.0, float(output.min())), max(0.0, float(output.max()))
        if not high > low:
            raise ConversionError(
                f"layer `{name}` gives only zeros for the calibration images: nothing to quantize"
            )
        if high - low < _MIN_SPAN:
            raise ConversionError(
                f"layer `{name}` gives only {low:.2g} to {high:.2g} for the calibration images: "
                f"TensorFlow's converter takes a range narrower than {_MIN_SPAN:g} for zero"
            )
        ranges[name] = Range(low, high)
    return share_ranges(graph, ranges)


def share_ranges(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Gives one range to all that meets in a concatenation, and a lone ReLU the range it reads.

    Then neither has anything to round, and every engine gives the same.

    Raises:
        UnsupportedLayerError: what meets cannot have one range.
    """
    shared = dict(ranges)
    # A later concatenation can widen what an earlier one reads: until nothing changes.
    while True:
        before = dict(shared)
        for node in graph.nodes:
            if node.kind == "Concatenate":
                sources = graph.sources(node.name)
                _require_mergeable(graph, node, sources, ranges)
                low = min(shared[name].low for name in sources)
                high = max(shared[name].high for name in sources)
                shared |= dict.fromkeys(sources, Range(low, high))
            elif node.kind == "Activation":
                shared[node.name] = shared[min(graph.sources(node.inputs[0]))]
        if shared == before:
            return shared


def _require_mergeable(
    graph: Graph, node: Node, sources: set[str], ranges: Mapping[str, Range]
) -> None:
    """A ReLU is the clamp to code -128, so its range cannot reach below 0 for another's sake."""
    fixed = sorted(sources - ranges.keys())
    relus = [name for name in sources if graph.node(name).config.get("activation") in RELUS]
    if fixed or (relus and any(ranges[name].low < 0 for name in sources)):
        raise UnsupportedLayerError(
            f"layer `{node.name}` (Concatenate) cannot be compiled there: it joins "
            f"{', '.join(fixed) or ', '.join(sorted(relus))} with values of another sign or scale: "
            "put a ReLU behind all of them or behind the concatenation"
        )
