"""An ONNX graph that can be edited: nodes by output, readers by tensor, constants as arrays."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


class OnnxGraph:
    """A mutable view of `model.graph`; `save` writes it back, without what nothing reads."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.input: onnx.ValueInfoProto = model.graph.input[0]
        self.output: onnx.ValueInfoProto = model.graph.output[0]

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that writes a tensor; `None` for the input and for constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def only_reader(self, tensor: str, kind: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor, if it is of that kind."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None

    def of_kind(self, *kinds: str) -> list[onnx.NodeProto]:
        """The nodes of these kinds, in order."""
        return [node for node in self.nodes if node.op_type in kinds]

    def remove(self, node: onnx.NodeProto) -> None:
        """Takes out a node; what read its output reads its first input instead."""
        self.nodes.remove(node)
        for other in self.nodes:
            for index, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[index] = node.input[0]

    def rename(self, names: dict[str, str]) -> None:
        """Renames tensors everywhere."""
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        self.constants = {names.get(name, name): data for name, data in self.constants.items()}
        for value in (self.input, self.output):
            value.name = names.get(value.name, value.name)

    def save(self) -> onnx.ModelProto:
        """Writes the graph into its model, nodes that nothing reads left out, and checks it."""
        needed = {self.output.name}
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
        graph = self._model.graph
        kept = [node for node in self.nodes if needed.intersection(node.output)]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(kept)
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(data), name)
            for name, data in self.constants.items()
            if name in needed
        )
        onnx.checker.check_model(self._model, full_check=True)
        return self._model
