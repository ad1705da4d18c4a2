"""The model between Keras and the quantizer: a flat list of operators."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tinsmith_export.ir.attention import MatMul
from tinsmith_export.ir.ops import InputLayer, Node, OutputLayer, Weighted


@dataclass(frozen=True)
class Graph:
    """Operators in the order of computation, between inputs and outputs.

    Each output is an `OutputLayer` that reads the node whose output it is. So such a node has one
    reader more, and no rewrite takes it for one that only the node behind it reads.
    """

    nodes: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[InputLayer, ...]:
        """The model's inputs, in its order."""
        return tuple(node for node in self.nodes if isinstance(node, InputLayer))

    @property
    def outputs(self) -> tuple[OutputLayer, ...]:
        """The model's outputs, in its order."""
        return tuple(node for node in self.nodes if isinstance(node, OutputLayer))

    @property
    def given(self) -> tuple[InputLayer, ...]:
        """The inputs that a user gives."""
        return tuple(node for node in self.inputs if not node.fed_by)

    @property
    def states(self) -> tuple[InputLayer, ...]:
        """The inputs that an output of the step before feeds."""
        return tuple(node for node in self.inputs if node.fed_by)

    @property
    def answers(self) -> tuple[OutputLayer, ...]:
        """The outputs that feed no input."""
        fed = {node.fed_by for node in self.states}
        return tuple(node for node in self.outputs if node.title not in fed)

    @property
    def layers(self) -> tuple[Node, ...]:
        """All between inputs and outputs."""
        return tuple(n for n in self.nodes if not isinstance(n, InputLayer | OutputLayer))

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        """The nodes that multiply by weights."""
        return tuple(node for node in self.nodes if isinstance(node, Weighted))

    @property
    def products(self) -> tuple[Node, ...]:
        """The nodes that multiply matrices: by weights, or of two tensors."""
        return tuple(node for node in self.nodes if isinstance(node, Weighted | MatMul))

    @property
    def requantized(self) -> tuple[Node, ...]:
        """The nodes whose output has quantization parameters of its own."""
        return tuple(node for node in self.nodes if node.requantizes)

    def sources(self, name: str) -> frozenset[str]:
        """The nodes that compute (or the input) whose codes reach this one as they are.

        The codes of a state are those that the step before gave.
        """
        return self._sources[name]

    @cached_property
    def _sources(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for node in self.nodes:
            own = node.requantizes or not node.inputs
            reach = [frozenset([node.name])] if own else [found[name] for name in node.inputs]
            found[node.name] = frozenset().union(*reach)
        titles = {node.title: node.name for node in self.outputs}
        for state in self.states:
            before = found[titles[state.fed_by]] - {state.name}
            for name, sources in found.items():
                if state.name in sources:
                    found[name] = sources - {state.name} | before
        return found

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the node of that name."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def only_reader(self, name: str) -> Node | None:
        """The one node that reads the node of that name, if it is the only one."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 else None

    def without(self, name: str) -> "Graph":
        """Removes a node with one input; those that read it read its input instead."""
        source = self.node(name).inputs[0]
        return Graph(tuple(n for n in self.nodes if n.name != name))._renamed({name: source})

    def redirected(self, name: str, to: str) -> "Graph":
        """Removes a node; those that read it read another instead."""
        return Graph(tuple(n for n in self.nodes if n.name != name))._renamed({name: to})

    def inserted(self, after: Node, node: Node) -> "Graph":
        """Puts `node` behind `after`; what read `after` reads `node` instead."""
        place = self.nodes.index(after) + 1
        rest = Graph(self.nodes[place:])._renamed({after.name: node.name}).nodes
        return Graph((*self.nodes[:place], node, *rest))

    def replaced(self, node: Node, *before: Node) -> "Graph":
        """Puts `node`, and others before it, in the place of the node of its name."""
        nodes: list[Node] = []
        for old in self.nodes:
            nodes += (*before, node) if old.name == node.name else (old,)
        return Graph(tuple(nodes))

    def pruned(self) -> "Graph":
        """Takes out nodes that no output needs."""
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
