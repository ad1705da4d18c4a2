"""What goes into the model: pixels or features, and the integers that stand for them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.graph import Graph, Node
from tinsmith_export.ranges import Range
from tinsmith_export.samples import Samples
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.features import quantize
from tinsmith_runtime.manifest import Input

_PIXELS = Range(1.0, -128)


@dataclass(frozen=True)
class Entry:
    """The input of a model.

    Attributes:
        source: as the manifest has it.
        span: the range of its int8 codes.
        pixel_range: the real values that the Keras model takes for pixels 0 and 255.
    """

    source: Input
    span: Range
    pixel_range: tuple[float, float]

    @property
    def _first(self) -> tuple[float, float] | None:
        """Factor and offset that the graph begins with, where no code could stand for them."""
        low, high = self.pixel_range
        return ((high - low) / 255, low) if self.span is _PIXELS else None

    def prepared(self, graph: Graph) -> Graph:
        """The graph that takes what `reals` gives."""
        if self._first is None:
            return graph
        factor, offset = self._first
        entry = graph.nodes[0]
        weights = {"factor": np.asarray(factor, "f4"), "offset": np.asarray(offset, "f4")}
        affine = Node("input/range", "Affine", (entry.name,), entry.shape, {}, weights)
        return graph.inserted(entry, affine)

    def model_reals(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the Keras model takes, `float32 (N, …)`, for pixels or features."""
        if self.source.kind == "features":
            return inputs.astype(np.float32, copy=False)
        low, high = self.pixel_range
        return inputs * np.float32((high - low) / 255) + np.float32(low)

    def reals(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the prepared graph takes, `float32 (N, …)`."""
        return self.model_reals(inputs) if self._first is None else inputs.astype(np.float32)

    def codes(self, inputs: NDArray[Any]) -> NDArray[np.int8]:
        """What the int8 model takes, `int8 (N, …)`."""
        if self.source.kind == "image":
            return (inputs ^ np.uint8(0x80)).view(np.int8)
        return quantize(inputs.astype(np.float32), self.source.scale, self.source.zero_point)


def enter(shape: tuple[int, ...], samples: Samples, pixel_range: tuple[float, float]) -> Entry:
    """Chooses what stands for a model's inputs, and checks that the samples are such inputs.

    Args:
        shape: the model's input, without the batch.
        samples: pixels become int8 codes one by one; features are rounded to codes.
        pixel_range: the real values that the model takes for pixels 0 and 255.

    Raises:
        UsageError: the samples are no inputs of this model.
    """
    for inputs in (samples.tuning, samples.proof):
        _check(shape, samples, inputs)
    if samples.kind == "features":
        low, high = float(samples.tuning.min()), float(samples.tuning.max())
        span = Range.covering(low, high)
        source = Input(
            "features",
            (None, *shape),
            "float32",
            None,
            (low, high),
            span.scale,
            span.zero_point,
            "features",
            None,
        )
        return Entry(source, span, pixel_range)
    low, high = pixel_range
    if not (high > low and math.isfinite(high - low)):
        raise UsageError(f"--input-range: expected LOW < HIGH, both finite, got {low:g} {high:g}")
    scale = (high - low) / 255
    zero_point = -128 - low / scale
    span = Range(scale, round(zero_point))
    if not -128 <= zero_point <= 127 or abs(zero_point - span.zero_point) > 1e-6:
        # No pixel stands for zero, which a padding needs: the model begins with a scaling.
        span, low, high = _PIXELS, 0.0, 255.0
    source = Input(
        "image",
        (None, *shape),
        "uint8",
        "NHWC",
        (low, high),
        float(np.float32(span.scale)),
        span.zero_point,
    )
    return Entry(source, span, pixel_range)


def _check(shape: tuple[int, ...], samples: Samples, inputs: NDArray[Any]) -> None:
    found = inputs.shape[1:]
    if found != shape:
        raise UsageError(
            f"the model takes inputs of shape {shape}, {samples.name} has {found}: "
            "give inputs of the model's own shape"
        )
    if not len(inputs):
        raise UsageError(f"{samples.name}: expected inputs, got none")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise UsageError(f"{samples.name}: expected finite inputs, got NaN or infinity")
    if inputs.min() == inputs.max():
        raise UsageError(
            f"{samples.name}: every value is {inputs.flat[0]}: give inputs such as the board will "
            "see"
        )
