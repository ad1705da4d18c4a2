"""A plan in the making, and the table of what each operator of the graph becomes in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import TargetError
from tinsmith_export.ir.ops import Convolution, Node, ZeroPadding2D
from tinsmith_export.ir.quantization import QuantGraph, QuantParams
from tinsmith_export.targets.native.plan import RANK, Kind, PlanOperator, PlanTensor


@dataclass(eq=False)
class Builder:
    """A plan in the making.

    Attributes:
        model: what it is made of.
        tables: of each function, the codes that it gives for -128 to 127, by the node's name.
        tensors: so far; none has a place yet.
        operators: so far.
    """

    model: QuantGraph
    tables: Mapping[str, NDArray[np.int8]]
    tensors: list[PlanTensor] = field(default_factory=list)
    operators: list[PlanOperator] = field(default_factory=list)
    _indices: dict[str, int] = field(default_factory=dict)

    def tensor(self, node: Node) -> int:
        """The index of a node's output, which is new if nobody asked for it before."""
        if node.name not in self._indices:
            self._indices[node.name] = self.place(node.name, node.shape, self.params(node.name))
        return self._indices[node.name]

    def place(
        self, name: str, shape: tuple[int, ...], params: QuantParams, data: bytes | None = None
    ) -> int:
        """Adds a tensor."""
        if len(shape) > RANK:
            raise TargetError(
                f"layer `{name}`: a plan has tensors of {RANK} dimensions at most, got {shape}"
            )
        self.tensors.append(PlanTensor(name, shape, params.scale, params.zero_point, 0, data))
        return len(self.tensors) - 1

    def source(self, node: Node, index: int = 0) -> Node:
        """The node whose output a node reads."""
        return self.model.graph.node(node.inputs[index])

    def params(self, name: str) -> QuantParams:
        """What the codes of a node's output stand for."""
        return self.model.params[name]

    def is_absorbed(self, node: Node) -> bool:
        """Whether a node is a padding that convolutions alone read: they pad by themselves."""
        readers = self.model.graph.readers(node.name)
        return isinstance(node, ZeroPadding2D) and all(
            isinstance(one, Convolution) and one.padding == "valid" for one in readers
        )

    def add(self, kind: Kind, node: Node, *words: int, constants: tuple[bytes, ...] = ()) -> None:
        """Adds an operator that reads what a node reads."""
        inputs = tuple(self.tensor(self.source(node, i)) for i in range(len(node.inputs)))
        self.operators.append(PlanOperator(kind, inputs, self.tensor(node), words, constants))


@singledispatch
def add(node: Node, builder: Builder) -> None:
    """Adds a node to a plan.

    Raises:
        TypeError: it has no form in a plan; rewriting takes it away.
        TargetError: it has parameters that no plan may have.
    """
    raise TypeError(f"{node.kind} has no form in a plan")
