"""What a model becomes in an ONNX file, told without ONNX Runtime."""

import onnx

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Clip, Node
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.onnx.integer_writer import IntegerWriter
from tinsmith_export.targets.onnx.model import to_onnx, written
from tinsmith_export.targets.target import Estimate, Form, output_layers
from tinsmith_export.targets.unmeasured import unmeasured_products

# What ONNX Runtime has an integer kernel for, between DequantizeLinear and QuantizeLinear.
_INTEGER = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "Softmax")
# What stands around an operator; a transposition does too where it gives an output of the model.
_AROUND = ("DequantizeLinear", "QuantizeLinear", "Reshape")


def estimate(model: QuantGraph, graph: Graph) -> Estimate:
    """See `Target.estimate`: both files are written, the int8 one with codes that say nothing."""
    inputs, owners = [node.name for node in graph.inputs], output_layers(model.graph)
    data = written(IntegerWriter(model.graph, model.params, unmeasured_products(model)), inputs, {})
    calls: dict[str, list[str]] = {}
    for call in onnx.load_from_string(data).graph.node:
        owner = owners.get(call.output[0])
        if call.op_type not in _AROUND and not (owner and call.op_type == "Transpose"):
            name = owner or call.output[0].rpartition(".")[0]
            calls.setdefault(name, []).append(call.op_type)
    forms = {
        node.name: Form(tuple(calls[node.name]), _is_integer(node, calls[node.name]))
        for node in model.graph.layers
        if node.name in calls
    }
    return Estimate(forms, len(data), len(to_onnx(graph, inputs)))


def _is_integer(node: Node, calls: list[str]) -> bool:
    moved = node.moves_codes or isinstance(node, Clip)
    return moved or (len(calls) == 1 and calls[0] in _INTEGER)
