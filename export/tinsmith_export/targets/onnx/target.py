"""ONNX as a target."""

from collections.abc import Collection, Mapping

import onnx
from onnx import TensorProto, helper

from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.normalization import LayerNormalization
from tinsmith_export.ir.ops import Node, Reshape
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.onnx.estimate import estimate
from tinsmith_export.targets.onnx.kernels import require_integer_kernels
from tinsmith_export.targets.onnx.model import to_int8_onnx, to_onnx
from tinsmith_export.targets.onnx.session import run_outputs
from tinsmith_export.targets.target import (
    Estimate,
    FloatModel,
    IntegerModel,
    Target,
    output_layers,
)
from tinsmith_runtime.backends import signed, unsigned
from tinsmith_runtime.backends.ort import saturates
from tinsmith_runtime.batch import Array, Arrays, each


class OnnxTarget(Target):
    """ONNX files, which ONNX Runtime runs."""

    name = "onnx"
    title = "ONNX"
    packages = ("onnx", "onnxruntime")

    def emit(self, model: IntegerModel) -> bytes:
        """See `Target.emit`."""
        return to_int8_onnx(model)

    def emit_float(self, model: FloatModel) -> bytes:
        """See `Target.emit_float`."""
        return to_onnx(model.graph, model.inputs)

    def estimate(self, model: QuantGraph, graph: Graph) -> Estimate:
        """See `Target.estimate`."""
        return estimate(model, graph)

    def integer_kernels(
        self, data: bytes, products: int, kept: Collection[str] = ()
    ) -> Mapping[str, int]:
        """See `Target.integer_kernels`: of the graph that ONNX Runtime makes of the file."""
        return require_integer_kernels(data, products, kept)

    def cpu_note(self) -> str:
        """See `Target.cpu_note`."""
        return (
            "adds pairs of products in 16 bits here, so it is given uint8 weights"
            if saturates()
            else ""
        )

    def layer_outputs(self, data: bytes, graph: Graph, codes: Arrays) -> Mapping[str, Array]:
        """See `Target.layer_outputs`."""
        owners = output_layers(graph)
        found = run_outputs(_with_all_outputs(data, graph), each(unsigned, codes))
        layers = {owners[name]: values for name, values in found.items() if name in owners}
        for node in graph.layers:
            if (output := f"{node.name}.output") in found:
                layers[node.name] = _channels_last(node, found[output])
        return {name: signed(values) for name, values in layers.items()}


def _channels_last(node: Node, values: Array) -> Array:
    # These have them last inside the file too.
    kinds = Embedding | LayerNormalization | MatMul | Reshape | Softmax
    last = isinstance(node, kinds) or values.ndim != 4
    return values if last else values.transpose(0, 2, 3, 1)


def _with_all_outputs(data: bytes, graph: Graph) -> bytes:
    """Makes each layer's codes an output."""
    model = onnx.load_from_string(data)
    computed = {name for call in model.graph.node for name in call.output}
    for node in graph.nodes:
        name = f"{node.name}.output"
        if name in computed:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    return bytes(model.SerializeToString())
