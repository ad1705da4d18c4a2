"""From operators of TensorFlow to a graph of layers."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.graph import Graph, Node
from tinsmith_export.operators import READERS
from tinsmith_export.trace import BATCH, Operator, Trace, distinct
from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.manifest import MAX_TENSORS

# Operators that only a quantized model has.
ROUNDINGS = (
    *("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
    *("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"),
)
# Layers that are more than one operator which is missing.
_FAMILIES = {
    "recurrent layers are not compiled": (
        *("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"),
        *("TimeDistributed",),
    ),
    "attention is not compiled": (
        *("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"),
    ),
}


def read_graph(trace: Trace) -> Graph:
    """Reads what a model computes as layers; nothing is left out and nothing changed.

    Args:
        trace: of a model whose inputs are images, `(H, W, C)`, or features.

    Raises:
        UnsupportedLayerError: a layer that cannot be compiled, by name and class.
        TinsmithError: the model holds weights that are not finite, or an input or an output that
            has nothing to do with the others.
    """
    reader = Reader(trace)
    for operator in trace.operators:
        reader.read(operator)
    return Graph((*reader.nodes.values(), *reader.outputs())).pruned()


class Reader:
    """Reads one operator after the other; `nodes` is what has been read."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self.constants = trace, trace.constants
        self.nodes: dict[str, Node] = {}
        self.names: dict[str, str] = {}  # tensor to node
        for kind, found in (("inputs", trace.inputs), ("outputs", trace.outputs)):
            if len(found) > MAX_TENSORS:
                raise TinsmithError(
                    f"{trace.model}: expected at most {MAX_TENSORS} {kind}, got {len(found)}: "
                    "join some with a Concatenate layer, or compile a part, keras.Model(INPUTS, "
                    "OUTPUTS)"
                )
        names = distinct(map(_plain, (*trace.input_names, *trace.output_names)))
        count = len(trace.inputs)
        self._output_names = names[count:]
        for name, (tensor, shape) in zip(names, trace.inputs.items(), strict=False):
            self.names[tensor] = self._add(name if count > 1 else "input", "InputLayer", (), shape)

    def read(self, operator: Operator) -> None:
        """Reads an operator, whose inputs were read before."""
        read = READERS.get(operator.kind)
        if operator.kind in ROUNDINGS:
            raise TinsmithError(
                f"layer `{operator.layer}` rounds already (TensorFlow's {operator.kind}): the "
                "model is quantized; give the float model that it was made of"
            )
        if read is None:
            raise self.unsupported(operator, f"TensorFlow's operator {operator.kind}")
        self.names[operator.output] = read(self, operator)

    def outputs(self) -> list[Node]:
        """The model's outputs, after all operators were read."""
        found, several = [], len(self._output_names) > 1
        for name, tensor in zip(self._output_names, self._trace.outputs, strict=True):
            if tensor not in self.names:
                raise TinsmithError(
                    f"the model's output `{name}` does not depend on its inputs: leave it out, "
                    "keras.Model(INPUTS, OUTPUTS)"
                )
            source = self.nodes[self.names[tensor]]
            config = {"name": name if several else "logits", "activation": "none"}
            found.append(Node(f"{name}/output", "Output", (source.name,), source.shape, config))
        read = {name for node in (*self.nodes.values(), *found) for name in node.inputs}
        for node in self.nodes.values():
            if node.kind == "InputLayer" and node.name not in read:
                raise TinsmithError(
                    f"the model's input `{node.name}` changes nothing in what it gives: leave it "
                    "out, keras.Model(INPUTS, OUTPUTS)"
                )
        return found

    def unsupported(self, operator: Operator, what: str) -> UnsupportedLayerError:
        """The error for an operator that cannot be compiled."""
        kind = self._trace.classes.get(operator.layer, "operator")
        family = next((name for name, kinds in _FAMILIES.items() if kind in kinds), None)
        return UnsupportedLayerError(
            f"layer `{operator.layer}` ({kind}) cannot be compiled: it needs {what}; "
            + (f"{family}: " if family else "")
            + "take another layer there (docs/compiling.md lists those that compile)"
        )

    def constant(self, operator: Operator, index: int) -> NDArray[Any] | None:
        """The constant that an operator reads there, if it is one."""
        values = self.constants.get(operator.inputs[index])
        if values is not None and not np.isfinite(values).all():
            raise TinsmithError(f"layer `{operator.layer}` holds weights that are NaN or infinite")
        return values

    def weights(self, operator: Operator, index: int = 1) -> NDArray[np.float32]:
        """The constant that an operator must read there."""
        values = self.constant(operator, index)
        if values is None:
            raise self.unsupported(operator, "a product of two computed tensors")
        return values.astype(np.float32)

    def known(self, operator: Operator, index: int) -> NDArray[Any]:
        """The constant that an operator must read there, a shape or a place."""
        values = self.constant(operator, index)
        if values is None:
            raise self.unsupported(operator, "sizes that are known before it runs")
        return values

    def source(self, operator: Operator, index: int = 0) -> Node:
        """The node that an operator reads there."""
        return self.nodes[self.names[operator.inputs[index]]]

    def add(
        self, operator: Operator, kind: str, sources: Sequence[Node] | None = None, **rest: Any
    ) -> str:
        """Adds a node for an operator and returns its name; `rest` is its config and weights."""
        inputs = tuple(node.name for node in sources or (self.source(operator),))
        shape = rest.pop("shape", operator.shape)
        return self._add(operator.layer, kind, inputs, shape, **rest)

    def image(self, operator: Operator) -> Node:
        """The one input of an operator on images, channels last."""
        settings = operator.settings
        source = self.source(operator)
        if settings.get("data_format", b"NHWC") != b"NHWC" or len(source.shape) != 3:
            raise self.unsupported(operator, "images of the form (H, W, C)")
        return source

    def row(self, operator: Operator, source: Node) -> Node:
        """A sequence `(L, C)` as an image of one row."""
        shape = (BATCH, 1, *source.shape)
        return self.nodes[self.add(operator, "Reshape", [source], shape=shape)]

    def _add(
        self,
        layer: str,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        weights: Any = None,
        **config: Any,
    ) -> str:
        layer = _plain(layer)
        name, number = layer, 0
        while name in self.nodes:
            number += 1
            name = f"{layer}/{kind.lower()}" + (f"_{number}" if number > 1 else "")
        self.nodes[name] = Node(name, kind, inputs, tuple(shape[1:]), config, weights or {})
        return name


def _plain(name: str) -> str:
    """A name that every format takes."""
    return re.sub("[^A-Za-z0-9_.-]", "_", name).lstrip("_-") or "layer"
