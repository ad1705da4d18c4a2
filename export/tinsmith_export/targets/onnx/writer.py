"""What an ONNX file is made with: nodes, constants, views.

Images are channels first inside, as ONNX has them, and channels last outside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import (
    RELU,
    UNCLIPPED,
    Clipped,
    Conv2D,
    Node,
    Weigh,
    Weighted,
)

# ONNX Runtime has read both since 1.15 (2023).
OPSET, IR_VERSION = 17, 8
BATCH = "batch"
_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class FloatWriter:
    """Writes node after node.

    Attributes:
        graph: what is written.
        tensors: where the output of each node that is written stands, by the node's name.
    """

    dtype = TensorProto.FLOAT

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._made: set[str] = set()
        self._views: dict[str, tuple[str, tuple[int, ...]]] = {}  # a view to what it shows
        self._constants: dict[str, NDArray[Any]] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self.tensors: dict[str, str] = {}

    def begin(self, inputs: Sequence[str]) -> None:
        """Gives the graph's inputs their names in the file."""
        self._sources = dict(zip(inputs, self.graph.inputs, strict=True))
        for name, node in self._sources.items():
            self.tensors[node.name] = self.to_channels_first(name, node.shape)

    def save(self, metadata: Mapping[str, str]) -> bytes:
        """Serializes all that was written, the same bytes each time."""
        targets = {node.title: node for node in self.graph.outputs}
        last = {
            name: self.to_channels_last(self.tensors[node.inputs[0]], node.shape)
            for name, node in targets.items()
        }
        used = set(last.values())
        for call in reversed(self._nodes):
            if used.intersection(call.output):
                used.update(call.input)
        self._nodes = [call for call in self._nodes if used.intersection(call.output)]
        self._name_outputs(last)
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                "tinsmith",
                self._tensors(self._sources),
                self._tensors(targets),
                [
                    numpy_helper.from_array(np.asarray(values), name)
                    for name, values in self._constants.items()
                    if name in used
                ],
            ),
            producer_name="tinsmith",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _tensors(self, ends: Mapping[str, Node]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, self.dtype, [BATCH, *node.shape])
            for name, node in ends.items()
        ]

    def _name_outputs(self, outputs: Mapping[str, str]) -> None:
        """Calls tensors by the names of the outputs that they are."""
        renamed = {tensor: name for name, tensor in outputs.items()}
        for call in self._nodes:
            for names in (call.input, call.output):
                names[:] = [renamed.get(name, name) for name in names]
            if call.output[0] in outputs:
                call.name = f"{call.op_type}/{call.output[0]}"

    def call(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Calls an operator and gives the tensor of its output."""
        if output not in self._made:  # what several nodes read is made once
            self._made.add(output)
            self._nodes.append(
                helper.make_node(kind, inputs, [output], name=f"{kind}/{output}", **attributes)
            )
        return output

    def constant(self, name: str, values: Any) -> str:
        """Stores a constant tensor."""
        self._constants[name] = np.asarray(values)
        return name

    def moved(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator that only moves values: it takes codes as they are."""
        return self.call(kind, inputs, f"{node.name}.output", **attributes)

    def source(self, node: Node, index: int = 0) -> str:
        """The tensor that a node reads, as it is stored."""
        return self.tensors[node.inputs[index]]

    def reals(self, node: Node, index: int = 0) -> str:
        """The tensor that a node reads, as real numbers."""
        return self.source(node, index)

    def view(self, tensor: str, old: tuple[int, ...], new: tuple[int, ...]) -> str:
        """Gives a tensor `(N, *old)` the shape `(N, *new)`; a view of a view is one view."""
        base, shape = self._views.get(tensor, (tensor, old))
        if new == shape:
            return base
        output = f"{base}.{'x'.join(map(str, new))}"
        self._views[output] = base, shape
        sizes = self.constant(f"{output}.shape", np.array([-1, *new]))
        return self.call("Reshape", [base, sizes], output)

    def flat(self, node: Node) -> str:
        """The channels of the one place that a node reads, `(N, C)`, as real numbers."""
        channels = self.graph.node(node.inputs[0]).shape[-1]
        return self.view(self.source(node), (channels, 1, 1), (channels,))

    def weights(self, node: Weighted, matrix: bool = False) -> list[str]:
        """Kernel and bias of a product, as real numbers, in ONNX's layout."""
        kernel = node.channel_kernel
        if matrix:
            kernel = kernel[0, 0].T
        elif isinstance(node, Conv2D):
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            kernel = kernel.transpose(2, 0, 1)[:, None]
        found, owner = {"weight": kernel}, self.owner(node, "float")
        found |= {} if node.bias is None else {"bias": node.bias}
        return [self.constant(f"{owner}.{part}", v) for part, v in found.items()]

    def owner(self, node: Weighted, kind: str) -> str:
        """By whose name a product's weights of that kind are stored: the first that shares them."""
        return self._owners.setdefault((node.shared or node.name, kind), node.name)

    def channels_last_reals(self, node: Node, index: int = 0) -> str:
        """The tensor that a node reads, as real numbers, channels last."""
        shape = self.graph.node(node.inputs[index]).shape
        return self.to_channels_last(self.source(node, index), shape)

    def factor(self, node: Weigh) -> str:
        """The constant that a `Weigh` multiplies by, `(1, H, W)`."""
        return self.constant(f"{node.name}.factor", node.factor.transpose(2, 0, 1))

    def table(self, node: Embedding) -> str:
        """The rows that an embedding reads, as they are stored."""
        return self.constant(f"{node.name}.table", node.table)

    def compute(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator on real numbers and gives what is stored of its output."""
        if not isinstance(node, Clipped) or node.clip == UNCLIPPED:
            return self.call(kind, inputs, f"{node.name}.output", **attributes)
        inner = self.call(kind, inputs, f"{node.name}.unclipped", **attributes)
        return self.clip(node, inner)

    def clip(self, node: Clipped, tensor: str) -> str:
        """Clips a stored tensor."""
        return self.clip_reals(node, tensor, f"{node.name}.output")

    def clip_reals(self, node: Clipped, tensor: str, output: str) -> str:
        """Clips real numbers."""
        low, high = node.clip
        if node.clip == RELU:
            return self.call("Relu", [tensor], output)
        limits = [
            "" if v is None else self.constant(f"{node.name}.{side}", np.float32(v))
            for side, v in (("low", low), ("high", high))
        ]
        return self.call("Clip", [tensor, *limits], output)

    def step(self, kind: str, node: Node, part: str, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator on real numbers in the middle of a node."""
        return self.call(kind, inputs, f"{node.name}.{part}", **attributes)

    def to_channels_first(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Turns `(N, H, W, C)` into `(N, C, H, W)`; other ranks stay."""
        return self._turn(tensor, shape, f"{tensor}.channels_first", _CHANNELS_FIRST)

    def to_channels_last(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Turns `(N, C, H, W)` into `(N, H, W, C)`; other ranks stay."""
        return self._turn(tensor, shape, f"{tensor}.channels_last", _CHANNELS_LAST)

    def stored_axes(self, shape: tuple[int, ...]) -> list[int]:
        """Where each dimension of a tensor stands in the file; the batch is its dimension 0."""
        return [2, 3, 1] if len(shape) == 3 else [*range(1, len(shape) + 1)]

    def _turn(
        self, tensor: str, shape: tuple[int, ...], output: str, order: tuple[int, ...]
    ) -> str:
        if len(shape) != 3:
            return tensor
        if 1 in (shape[-1], shape[0] * shape[1]):  # nothing moves: a view will do
            height, width, channels = shape
            turned = (channels, height, width)
            first = order == _CHANNELS_FIRST
            return self.view(tensor, *((shape, turned) if first else (turned, shape)))
        return self.call("Transpose", [tensor], output, perm=order)

    def zero(self, node: Node) -> Any:
        """What stands for zero in the tensor that a node reads."""
        return np.float32(0)
