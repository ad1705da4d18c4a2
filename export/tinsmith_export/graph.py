"""The model between Keras and the quantizer: a flat list of layers with their weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The clip, lowest and highest output, that ReLU is.
RELU = (0.0, None)
# Layers that multiply by weights.
WEIGHTED = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}
# Functions that stay a layer of their own. The engines have a kernel for them on integers, or
# compute them in float between two roundings.
FUNCTIONS = ("sigmoid", "tanh", "gelu", "elu", "softplus")
# Layers whose output is an integer range of its own, because they compute new values.
RANGED = (*WEIGHTED, "Add", "Multiply", "Weigh", "Function", "LayerNormalization")
# Layers whose output codes are among their input's.
PASSING = (
    "MaxPooling2D",
    "ZeroPadding2D",
    "Cropping2D",
    "UpSampling2D",
    "DepthToSpace",
    "Reshape",
)


@dataclass(frozen=True, eq=False)
class Node:
    """One layer.

    Attributes:
        name: the Keras layer's name, with a part behind a slash where a layer became several.
        kind: `Conv2D` for example: Keras's name of the layer where it has one.
        inputs: the names of the nodes it reads.
        shape: of its output, without the batch.
        config: its settings; `clip`, the lowest and highest output, is what ReLU becomes.
        weights: `kernel`, `bias`, … `float32`, in Keras's layout.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def kernel(self) -> NDArray[np.float32]:
        """The kernel of a weighted layer, output channels last (depthwise: `(kh, kw, C * M)`)."""
        kernel = self.weights[WEIGHTED[self.kind]]
        return kernel.reshape(*kernel.shape[:2], -1) if self.kind == "DepthwiseConv2D" else kernel

    @property
    def clip(self) -> tuple[float | None, float | None]:
        """The lowest and the highest output, where there is one: `(0, None)` is ReLU."""
        low, high = self.config.get("clip", (None, None))
        return low, high

    def configured(self, **config: Any) -> "Node":
        """The node with other settings."""
        return replace(self, config={**self.config, **config})


@dataclass(frozen=True)
class Graph:
    """Layers in the order of computation, between inputs and outputs.

    Each output is a node of the kind `Output` that reads the layer whose output it is. So such a
    layer has one reader more, and no rewrite takes it for one that only the layer behind it reads.
    """

    nodes: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The model's inputs, in its order."""
        return tuple(node for node in self.nodes if node.kind == "InputLayer")

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The model's outputs, in its order; the settings are `name` and `activation`."""
        return tuple(node for node in self.nodes if node.kind == "Output")

    @property
    def layers(self) -> tuple[Node, ...]:
        """All between inputs and outputs."""
        return tuple(node for node in self.nodes if node.kind not in ("InputLayer", "Output"))

    @property
    def weighted(self) -> tuple[Node, ...]:
        """The layers that multiply by weights."""
        return tuple(node for node in self.nodes if node.kind in WEIGHTED)

    @property
    def ranged(self) -> tuple[Node, ...]:
        """The layers whose output has an integer range of its own."""
        return tuple(node for node in self.nodes if node.kind in RANGED)

    def sources(self, name: str) -> frozenset[str]:
        """The layers with a range of their own (or the input) whose codes reach this one as is."""
        return self._sources[name]

    @cached_property
    def _sources(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for node in self.nodes:
            own = node.kind in RANGED or not node.inputs
            reach = [frozenset([node.name])] if own else [found[name] for name in node.inputs]
            found[node.name] = frozenset().union(*reach)
        return found

    def node(self, name: str) -> Node:
        """The layer of that name.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def readers(self, name: str) -> tuple[Node, ...]:
        """The layers that read the layer of that name."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def only_reader(self, name: str) -> Node | None:
        """The one layer that reads the layer of that name, if it is the only one."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 else None

    def without(self, name: str) -> "Graph":
        """Removes a layer with one input; those that read it read its input instead."""
        source = self.node(name).inputs[0]
        return Graph(tuple(n for n in self.nodes if n.name != name))._renamed({name: source})

    def inserted(self, after: Node, node: Node) -> "Graph":
        """Puts `node` behind `after`; what read `after` reads `node` instead."""
        place = self.nodes.index(after) + 1
        rest = Graph(self.nodes[place:])._renamed({after.name: node.name}).nodes
        return Graph((*self.nodes[:place], node, *rest))

    def replaced(self, node: Node, *before: Node) -> "Graph":
        """Puts `node`, and others before it, in the place of the layer of its name."""
        nodes: list[Node] = []
        for old in self.nodes:
            nodes += (*before, node) if old.name == node.name else (old,)
        return Graph(tuple(nodes))

    def pruned(self) -> "Graph":
        """Takes out layers that no output needs."""
        needed = {node.name for node in self.outputs}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        return Graph(tuple(n for n in self.nodes if n.name in needed or not n.inputs))

    def _renamed(self, names: Mapping[str, str]) -> "Graph":
        return Graph(
            tuple(
                replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
                if names.keys() & set(node.inputs)
                else node
                for node in self.nodes
            )
        )
