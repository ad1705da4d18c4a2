"""What reads the operators of TensorFlow one by one, and the graph that grows from it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.cures import cure
from tinsmith_export.frontend.recurrence import RECURRENT
from tinsmith_export.frontend.trace import BATCH, Operator, Trace, distinct
from tinsmith_export.ir.embedding import Ids
from tinsmith_export.ir.ops import InputLayer, Node, OutputLayer, Reshape
from tinsmith_export.ir.unrewritten import Refused
from tinsmith_runtime.bundle import MAX_TENSORS
from tinsmith_runtime.errors import TinsmithError

Shape: TypeAlias = tuple[int, ...]
AnyNode = TypeVar("AnyNode", bound=Node)


class Reader:
    """Reads one operator after the other; `nodes` is what has been read."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self.constants = trace, trace.constants
        self._readers = Counter(name for one in trace.operators for name in one.inputs)
        self.nodes: dict[str, Node] = {}
        self.names: dict[str, str] = {}  # tensor to node
        self._refused: set[str] = set()  # layers
        for kind, found in (("inputs", trace.inputs), ("outputs", trace.outputs)):
            if len(found) > MAX_TENSORS:
                raise TinsmithError(
                    f"{trace.model}: expected at most {MAX_TENSORS} {kind}, got {len(found)}: "
                    "join some with a Concatenate layer, or compile a part, keras.Model(INPUTS, "
                    "OUTPUTS)"
                )
        names = distinct(map(plain, (*trace.input_names, *trace.output_names)))
        count = len(trace.inputs)
        several = count - len(trace.fed_by) > 1
        self._output_names = names[count:]
        self._states = len(trace.fed_by)
        for name, (tensor, shape) in zip(names, trace.inputs.items(), strict=False):
            fed_by = next(
                (plain(trace.fed_by[one]) for one in trace.fed_by if plain(one) == name), ""
            )
            title = name if several or fed_by else "input"
            source = InputLayer(title, (), shape[1:], fed_by=fed_by)
            if tensor in trace.ids:
                source = Ids(title, (), (*shape[1:], 2), size=trace.ids[tensor])
            self.names[tensor] = self.add(source).name

    def outputs(self) -> list[OutputLayer]:
        """The model's outputs, after all operators were read."""
        found: list[OutputLayer] = []
        answers = len(self._output_names) - self._states
        for number, (name, tensor) in enumerate(
            zip(self._output_names, self._trace.outputs, strict=True)
        ):
            source = self._node(tensor)
            if source is None:
                raise TinsmithError(
                    f"the model's output `{name}` does not depend on its inputs: leave it out, "
                    "keras.Model(INPUTS, OUTPUTS)"
                )
            title = name if answers > 1 or number >= answers else "logits"
            place = f"{name}/output", (source.name,), source.shape
            by_step = any(self._trace.by_step[number : number + 1])
            found.append(OutputLayer(*place, title=title, by_step=by_step))
        read = {name for node in (*self.nodes.values(), *found) for name in node.inputs}
        for node in self.nodes.values():
            if isinstance(node, InputLayer) and node.name not in read:
                raise TinsmithError(
                    f"the model's input `{node.name}` changes nothing in what it gives: leave it "
                    "out, keras.Model(INPUTS, OUTPUTS)"
                )
        return found

    def unsupported(self, operator: Operator, what: str) -> UnsupportedLayerError:
        """The error for an operator that cannot be compiled."""
        kind = self._trace.classes.get(operator.layer, "operator")
        return UnsupportedLayerError(
            f"layer `{operator.layer}` ({kind}) cannot be compiled: it needs {what}; "
            f"{cure(kind, operator.kind)}"
        )

    def refuse(self, operator: Operator, reason: str = "") -> Refused:
        """Adds what stands for an operator that cannot be compiled, and gives it.

        Args:
            operator: the operator; what comes behind it is read, as far as its shape is known.
            reason: why; empty if its layer is refused already, or something before it.
        """
        self._refused.add(operator.layer)
        inputs = tuple(node.name for node in map(self._node, operator.inputs) if node is not None)
        shape = operator.shape[1:] if operator.shape[:1] == (BATCH,) else ()
        return self.add(Refused(operator.layer, inputs, shape, reason=reason))

    def refusal(self, operator: Operator) -> str | None:
        """Why an operator is not read: none if it may be, empty if another one's reason says it."""
        if operator.layer in self._refused:
            return ""
        if operator.layer in self._trace.refused:
            return self._trace.refused[operator.layer]
        sources = map(self._node, operator.inputs)
        unknown = any(isinstance(node, Refused) and not node.shape for node in sources)
        return "" if unknown else None

    def _node(self, tensor: str) -> Node | None:
        """What gives a tensor; a refused operator has one node, whichever output it is."""
        if tensor in self.names:
            return self.nodes[self.names[tensor]]
        first = self.nodes.get(self.names.get(f"{tensor.rpartition(':')[0]}:0", ""))
        return first if isinstance(first, Refused) else None

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

    def shared(self, operator: Operator, index: int = 1) -> str:
        """The constant that several steps of a recurrent layer read there; none if empty."""
        name = operator.inputs[index]
        recurrent = self._trace.classes.get(operator.layer) in RECURRENT
        return name if recurrent and self._readers[name] > 1 else ""

    def known(self, operator: Operator, index: int) -> NDArray[Any]:
        """The constant that an operator must read there, a shape or a place."""
        values = self.constant(operator, index)
        if values is None:
            raise self.unsupported(operator, "sizes that are known before it runs")
        return values

    def source(self, operator: Operator, index: int = 0) -> Node:
        """The node that an operator reads there."""
        node = self._node(operator.inputs[index])
        if node is None:
            raise self.unsupported(operator, "another output of an operator than its first")
        return node

    def place(
        self,
        operator: Operator,
        sources: Sequence[Node] | None = None,
        shape: Shape | None = None,
    ) -> tuple[str, tuple[str, ...], Shape]:
        """What each node begins with: its layer's name, what it reads, and its output's shape.

        Args:
            operator: whose node it is.
            sources: what it reads, if that is not the operator's first input.
            shape: without the batch, if it is not the operator's.
        """
        inputs = tuple(node.name for node in sources or (self.source(operator),))
        return operator.layer, inputs, operator.shape[1:] if shape is None else shape

    def add(self, node: AnyNode, inner: bool = False) -> AnyNode:
        """Adds a node, under a name that no other has, and gives it.

        Args:
            node: whose name is its layer's.
            inner: whether the layer's own name is kept for another part of the layer.
        """
        layer = plain(node.name)
        name, number = layer, 0
        while name in self.nodes or (inner and not number):
            number += 1
            name = f"{layer}/{node.kind.lower()}" + (f"_{number}" if number > 1 else "")
        added = replace(node, name=name)
        self.nodes[name] = added
        return added

    def image(self, operator: Operator) -> Node:
        """The one input of an operator on images, channels last."""
        settings = operator.settings
        source = self.source(operator)
        if settings.get("data_format", b"NHWC") != b"NHWC" or len(source.shape) != 3:
            raise self.unsupported(operator, "images of the form (H, W, C)")
        return source

    def row(self, operator: Operator, source: Node) -> Node:
        """A sequence `(L, C)` as an image of one row."""
        return self.add(Reshape(*self.place(operator, [source], (1, *source.shape))))


def plain(name: str) -> str:
    """A name that every format takes."""
    return re.sub("[^A-Za-z0-9_.-]", "_", name).lstrip("_-") or "layer"
