"""What goes into the model: pixels or features, and the integers that stand for them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.inputs.samples import Samples, kind_of
from tinsmith_export.ir.embedding import Ids
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Affine, InputLayer
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_runtime.backends import signed
from tinsmith_runtime.batch import Array, Arrays, joined, parts
from tinsmith_runtime.bundle import Input, Preprocessing
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.features import id_bytes, quantize

_PIXELS = QuantParams(1.0, -128)


@dataclass(frozen=True)
class _Port:
    """One input of a model.

    Attributes:
        name: its node's.
        source: as the manifest has it.
        params: the range of its int8 codes.
        pixel_range: the real values that the Keras model takes for pixels 0 and 255.
    """

    name: str
    source: Input
    params: QuantParams
    pixel_range: tuple[float, float]

    @property
    def _first(self) -> tuple[float, float] | None:
        """Factor and offset that the graph begins with, where no code could stand for them."""
        low, high = self.pixel_range
        scaled = self.params is _PIXELS and self.source.kind == "image"
        return ((high - low) / 255, low) if scaled else None

    def prepared(self, graph: Graph) -> Graph:
        """The graph that takes what `reals` gives."""
        if self._first is None:
            return graph
        factor, offset = self._first
        entry = graph.node(self.name)
        affine = Affine(
            f"{self.name}/range",
            (self.name,),
            entry.shape,
            factor=np.asarray(factor, "f4"),
            offset=np.asarray(offset, "f4"),
        )
        return graph.inserted(entry, affine)

    def model_reals(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the Keras model takes, `float32 (N, …)`, for pixels or features."""
        if self.source.kind == "ids":
            return inputs
        if self.source.kind == "features":
            return inputs.astype(np.float32, copy=False)
        low, high = self.pixel_range
        return inputs * np.float32((high - low) / 255) + np.float32(low)

    def reals(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the prepared graph takes, `float32 (N, …)`."""
        if self.source.kind == "ids":
            return id_bytes(inputs).astype(np.float32)
        return self.model_reals(inputs) if self._first is None else inputs.astype(np.float32)

    def codes(self, inputs: NDArray[Any]) -> NDArray[np.int8]:
        """What the int8 model takes, `int8 (N, …)`."""
        if self.source.kind == "ids":
            return signed(id_bytes(inputs))
        if self.source.kind == "image":
            return signed(inputs)
        return quantize(inputs.astype(np.float32), self.source.scale, self.source.zero_point)


@dataclass(frozen=True)
class Entry:
    """The inputs of a model, in its order."""

    ports: tuple[_Port, ...]

    @property
    def sources(self) -> tuple[Input, ...]:
        """As the manifest has them."""
        return tuple(port.source for port in self.ports)

    @property
    def params(self) -> dict[str, QuantParams]:
        """The ranges of their int8 codes, by the names of their nodes."""
        return {port.name: port.params for port in self.ports}

    def fitted(self, preprocessing: Preprocessing) -> "Entry":
        """The same inputs; image files become those that are images in this way."""
        return Entry(
            tuple(
                replace(port, source=replace(port.source, preprocessing=preprocessing))
                if port.source.kind == "image"
                else port
                for port in self.ports
            )
        )

    def prepared(self, graph: Graph) -> Graph:
        """The graph that takes what `reals` gives."""
        for port in self.ports:
            graph = port.prepared(graph)
        return graph

    def model_reals(self, inputs: Arrays) -> Arrays:
        """What the Keras model takes, `float32 (N, …)` each, for pixels or features."""
        return self._each(_Port.model_reals, inputs)

    def reals(self, inputs: Arrays) -> Arrays:
        """What the prepared graph takes, `float32 (N, …)` each."""
        return self._each(_Port.reals, inputs)

    def codes(self, inputs: Arrays) -> Arrays:
        """What the int8 model takes, `int8 (N, …)` each."""
        return self._each(_Port.codes, inputs)

    def _each(self, encode: Callable[[_Port, Array], Array], inputs: Arrays) -> Arrays:
        pairs = zip(self.ports, parts(inputs), strict=True)
        return joined([encode(port, array) for port, array in pairs])


def enter(graph: Graph, samples: Samples, pixel_range: tuple[float, float]) -> Entry:
    """Chooses what stands for a model's inputs, and checks that the samples are such inputs.

    Args:
        graph: of the model, as it was read.
        samples: pixels become int8 codes one by one; features are rounded to codes.
        pixel_range: the real values that the model takes for pixels 0 and 255.

    Raises:
        UsageError: the samples are no inputs of this model.
    """
    nodes, calibration, evaluation = (
        graph.inputs,
        parts(samples.calibration),
        parts(samples.evaluation),
    )
    if not len(nodes) == len(calibration) == len(evaluation):
        names = ", ".join(node.name for node in nodes)
        raise UsageError(
            f"the model has {len(nodes)} inputs ({names}), {samples.name} gives "
            f"{len(calibration)}: give --data FILE.npz with an array for each, or module:function"
        )
    for arrays in (calibration, evaluation):
        if len({len(array) for array in arrays}) > 1:
            sizes = ", ".join(f"{len(array):,}" for array in arrays)
            raise UsageError(f"{samples.name}: expected as many of each input, got {sizes}")
    alone = len(nodes) == 1
    ports = []
    for node, *given in zip(nodes, calibration, evaluation, strict=True):
        said = samples.name if alone else f"`{node.name}` of {samples.name}"
        for inputs in given:
            _check(node, said, inputs)
        ports.append(_port(node, None if alone else node.name, given[0], pixel_range))
    return Entry(tuple(ports))


def enter_unseen(graph: Graph, pixel_range: tuple[float, float]) -> Entry:
    """Chooses what stands for a model's inputs where there are no samples.

    Args:
        graph: of the model, as it was read; inputs `(H, W, C)` are taken for pixels.
        pixel_range: as `enter`.
    """
    ports = []
    for node in graph.inputs:
        dtype = np.uint8 if len(node.shape) == 3 else np.float32
        ports.append(_port(node, node.name, np.zeros((1, *node.shape), dtype), pixel_range))
    return Entry(tuple(ports))


def _port(
    node: InputLayer, name: str | None, inputs: NDArray[Any], pixel_range: tuple[float, float]
) -> _Port:
    kind = kind_of(inputs)
    if isinstance(node, Ids):
        source = Input(
            name or kind,
            (None, *node.sample_shape),
            "int32",
            None,
            (0.0, node.size - 1.0),
            _PIXELS.scale,
            _PIXELS.zero_point,
            kind,
            None,
        )
        return _Port(node.name, source, _PIXELS, (0.0, 255.0))
    if kind == "features":
        low, high = float(inputs.min()), float(inputs.max())
        params = QuantParams.covering(low, high)
        source = Input(
            name or kind,
            (None, *node.shape),
            "float32",
            None,
            (low, high),
            params.scale,
            params.zero_point,
            kind,
            None,
        )
        return _Port(node.name, source, params, pixel_range)
    low, high = pixel_range
    if not (high > low and math.isfinite(high - low)):
        raise UsageError(f"--input-range: expected LOW < HIGH, both finite, got {low:g} {high:g}")
    zero_point = -128 - low / ((high - low) / 255)
    params = QuantParams(float(np.float32((high - low) / 255)), round(zero_point))
    if not -128 <= params.zero_point <= 127 or abs(zero_point - params.zero_point) > 1e-6:
        # No pixel stands for zero, which a padding needs: the model begins with a scaling.
        params, low, high = _PIXELS, 0.0, 255.0
    source = Input(
        name or kind,
        (None, *node.shape),
        "uint8",
        "NHWC",
        (low, high),
        params.scale,
        params.zero_point,
    )
    return _Port(node.name, source, params, pixel_range)


def _check(node: InputLayer, name: str, inputs: NDArray[Any]) -> None:
    found, shape = inputs.shape[1:], node.sample_shape
    if (inputs.dtype == np.int32) != isinstance(node, Ids):
        wanted, cures = "uint8 pixels or float features", "x.astype('uint8') or x.astype('float32')"
        if isinstance(node, Ids):
            wanted, cures = "int32 numbers of an Embedding's rows", "x.astype('int32')"
        raise UsageError(f"{name}: expected {wanted}, got {inputs.dtype}: cast them, with {cures}")
    if found != shape:
        raise UsageError(
            f"the model takes inputs of shape {shape}, {name} has {found}: "
            "give inputs of the model's own shape"
        )
    if not len(inputs):
        raise UsageError(f"{name}: expected inputs, got none")
    if isinstance(node, Ids) and inputs.max() >= node.size:
        raise UsageError(
            f"{name}: expected numbers below {node.size:,}, the rows of the Embedding, got "
            f"{inputs.max():,}"
        )
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise UsageError(f"{name}: expected finite inputs, got NaN or infinity")
    if inputs.min() == inputs.max():
        raise UsageError(
            f"{name}: every value is {inputs.flat[0]}: give inputs such as the board will see"
        )
