"""What goes into the model: pixels or features, and the integers that stand for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.inputs.samples import Samples, kind_of
from tinsmith_export.ir.embedding import Ids
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather
from tinsmith_export.ir.ops import Affine, InputLayer
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_runtime.backends import signed
from tinsmith_runtime.batch import Array, Arrays, joined, parts
from tinsmith_runtime.bundle import Input, PixelRanges, Preprocessing
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.features import id_bytes, quantize

_PIXELS = QuantParams(1.0, -128)
_BGR = (2, 1, 0)


@dataclass(frozen=True)
class _Port:
    """One input of a model.

    Attributes:
        name: its node's.
        source: as the manifest has it.
        params: the range of its int8 codes.
        pixels: what the Keras model takes for pixels.
    """

    name: str
    source: Input
    params: QuantParams
    pixels: PixelRanges

    @property
    def _scales(self) -> bool:
        """Whether the graph takes the pixels: no code could stand for the zero of all channels."""
        return self.source.kind == "image" and self.params is _PIXELS

    @property
    def _swaps(self) -> bool:
        """Whether the Keras model's channels are in another order than the pixels'."""
        return self.source.kind == "image" and self.pixels.channels == "bgr"

    @property
    def _map(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factor and offset from pixels to what the Keras model takes, in its order."""
        low, high = np.transpose(self.pixels.ranges).astype(np.float64)
        factor, offset = ((high - low) / 255).astype(np.float32), low.astype(np.float32)
        return (factor[0], offset[0]) if len(low) == 1 else (factor, offset)

    def prepared(self, graph: Graph) -> Graph:
        """The graph that takes what `reals` gives."""
        before = graph.node(self.name)
        if self._swaps:
            name, axis = f"{self.name}/channels", len(before.shape) - 1
            swap = Gather(name, (self.name,), before.shape, axis=axis, indices=_BGR)
            graph, before = graph.inserted(before, swap), swap
        if self._scales:
            factor, offset = self._map
            name = f"{self.name}/range"
            scaling = Affine(name, (before.name,), before.shape, factor=factor, offset=offset)
            graph = graph.inserted(before, scaling)
        return graph

    def model_reals(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the Keras model takes, `float32 (N, …)`, for pixels or features."""
        if self.source.kind == "ids":
            return inputs
        if self.source.kind == "features":
            return inputs.astype(np.float32, copy=False)
        factor, offset = self._map
        return (inputs[..., _BGR] if self._swaps else inputs) * factor + offset

    def reals(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the prepared graph takes, `float32 (N, …)`."""
        if self.source.kind == "ids":
            return id_bytes(inputs).astype(np.float32)
        if self.source.kind == "features" or self._scales:
            return inputs.astype(np.float32, copy=False)
        factor, offset = self._map
        return inputs * factor + offset

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


def enter(graph: Graph, samples: Samples, pixels: PixelRanges) -> Entry:
    """Chooses what stands for a model's inputs, and checks that the samples are such inputs.

    Args:
        graph: of the model, as it was read; what feeds states is not given.
        samples: pixels become int8 codes one by one; features are rounded to codes.
        pixels: what the model takes for them.

    Raises:
        UsageError: the samples are no inputs of this model, or its images have other channels.
    """
    nodes, calibration, evaluation = (
        graph.given,
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
        name = node.name if len(graph.inputs) > 1 else None
        ports.append(_port(node, name, given[0], pixels))
    return Entry(tuple(ports))


def enter_unseen(graph: Graph, pixels: PixelRanges) -> Entry:
    """Chooses what stands for a model's inputs where there are no samples.

    Args:
        graph: of the model, as it was read; inputs `(H, W, C)` are taken for pixels.
        pixels: as `enter`.

    Raises:
        UsageError: the model's images have other channels.
    """
    ports = []
    for node in graph.inputs:
        dtype = np.uint8 if len(node.shape) == 3 else np.float32
        ports.append(_port(node, node.name, np.zeros((1, *node.shape), dtype), pixels))
    return Entry(tuple(ports))


def _port(node: InputLayer, name: str | None, inputs: NDArray[Any], pixels: PixelRanges) -> _Port:
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
        return _Port(node.name, source, _PIXELS, pixels)
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
        return _Port(node.name, source, params, pixels)
    _check_channels(node, pixels)
    (low, high), *others = pixels.ranges
    zero_point = -128 - low / ((high - low) / 255)
    params = QuantParams(float(np.float32((high - low) / 255)), round(zero_point))
    stands = -128 <= params.zero_point <= 127 and abs(zero_point - params.zero_point) <= 1e-6
    if others or not stands:
        # No pixel stands for zero, which a padding needs: the model begins with a scaling.
        params, low, high = _PIXELS, 0.0, 255.0
    told = stands and not others and pixels.channels == "rgb"
    source = Input(
        name or kind,
        (None, *node.shape),
        "uint8",
        "NHWC",
        (low, high),
        params.scale,
        params.zero_point,
        pixel_ranges=None if told else pixels,
    )
    return _Port(node.name, source, params, pixels)


def _check_channels(node: InputLayer, pixels: PixelRanges) -> None:
    """Checks that an image has the channels that are spoken of."""
    channels, count = node.shape[-1], len(pixels.ranges)
    said = f"`{node.name}` is an image of {channels} channel{'' if channels == 1 else 's'}: "
    if count not in (1, channels):
        raise UsageError(
            f"{said}expected one mean and std, or as many as channels, got {count} (--mean, --std, "
            "--preprocess)"
        )
    if pixels.channels == "bgr" and channels != 3:
        raise UsageError(f"{said}expected 3 for --channels bgr")


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
