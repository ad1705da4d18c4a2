"""The model between Keras and the quantizer: a flat list of layers with their weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Layers whose output is an integer range of its own, because they multiply.
WEIGHTED = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}
# Averages, which become depthwise convolutions: the one product that both engines round alike.
POOLING = ("AveragePooling2D", "GlobalAveragePooling2D")

RELUS = ("relu", "relu6")


@dataclass(frozen=True, eq=False)
class Node:
    """One layer.

    Attributes:
        name: the Keras layer's name.
        kind: the Keras layer's class, `Conv2D` for example.
        inputs: the names of the nodes it reads.
        config: the arguments that the layer is rebuilt with, `activation` among them.
        weights: `kernel`, `bias`, … `float32`, in Keras's layout.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def kernel(self) -> NDArray[np.float32]:
        """The kernel of a weighted layer, output channels last (depthwise: `(kh, kw, C * M)`)."""
        kernel = self.weights[WEIGHTED[self.kind]]
        return kernel.reshape(*kernel.shape[:2], -1) if self.kind == "DepthwiseConv2D" else kernel


@dataclass(frozen=True)
class Graph:
    """Layers in the order of computation: the first is the input, the last the output."""

    nodes: tuple[Node, ...]

    @property
    def weighted(self) -> tuple[Node, ...]:
        """The layers that multiply."""
        return tuple(node for node in self.nodes if node.kind in WEIGHTED)

    @property
    def ranged(self) -> tuple[Node, ...]:
        """The layers whose output has an integer range of its own."""
        return tuple(node for node in self.nodes if node.kind in (*WEIGHTED, "Add", "Activation"))

    def sources(self, name: str) -> set[str]:
        """The layers with a range of their own (or the input) whose codes reach this one as is."""
        node = self.node(name)
        if node in self.ranged or not node.inputs:
            return {name}
        return set().union(*(self.sources(source) for source in node.inputs))

    def node(self, name: str) -> Node:
        """The layer of that name."""
        return next(node for node in self.nodes if node.name == name)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The layers that read the layer of that name."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def without(self, name: str) -> "Graph":
        """Removes a layer with one input; those that read it read its input instead."""
        source = self.node(name).inputs[0]
        return Graph(
            tuple(
                replace(node, inputs=tuple(source if i == name else i for i in node.inputs))
                for node in self.nodes
                if node.name != name
            )
        )

    def inserted(self, after: Node, node: Node) -> "Graph":
        """Puts `node` behind `after`; what read `after` reads `node` instead."""
        place = self.nodes.index(after) + 1
        rest = tuple(
            replace(
                other,
                inputs=tuple(node.name if name == after.name else name for name in other.inputs),
            )
            for other in self.nodes[place:]
        )
        return Graph((*self.nodes[:place], node, *rest))

    def replaced(self, node: Node) -> "Graph":
        """Puts `node` in the place of the layer of its name."""
        return Graph(tuple(node if old.name == node.name else old for old in self.nodes))
