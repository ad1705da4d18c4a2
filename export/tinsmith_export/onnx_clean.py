"""Cleans what tf2onnx writes, so that ONNX Runtime multiplies integers everywhere.

tf2onnx puts every operator between DequantizeLinear and QuantizeLinear. ONNX Runtime fuses such a
trio into an integer kernel, but only in forms that it knows: these functions make those forms.
Each leaves the numbers alone.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from tinsmith_export.onnx_graph import OnnxGraph

INPUT, OUTPUT, BATCH = "image", "logits", "batch"


def clean(model: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """Applies every rewrite.

    Args:
        model: what tf2onnx wrote, int8 or float, one input and one output.
        layers: the names of the layers that multiply, in order, to name tensors after.
    """
    graph = OnnxGraph(model)
    drop_clamped_relus(graph)
    merge_gemms(graph)
    use_uint8_activations(graph)
    name_batch(graph)
    name_tensors(graph, layers)
    return graph.save()


def drop_clamped_relus(graph: OnnxGraph) -> None:
    """Takes out a ReLU before a QuantizeLinear whose lowest code stands for 0.

    The clamp to that code is the ReLU. Left in, ONNX Runtime fuses it with its convolution in
    float.
    """
    for relu in graph.of_kind("Relu"):
        quantize = graph.only_reader(relu.output[0], "QuantizeLinear")
        if quantize is None:
            continue
        zero_point = graph.constants[quantize.input[2]]
        if np.all(zero_point == np.iinfo(zero_point.dtype).min):
            graph.remove(relu)


def merge_gemms(graph: OnnxGraph) -> None:
    """Makes a MatMul and the Add of its bias one Gemm, which has an integer kernel."""
    for matmul in graph.of_kind("MatMul"):
        inputs = list(matmul.input)
        output = matmul.output[0]
        add = graph.only_reader(output, "Add")
        if add is not None:
            bias = add.input[1] if add.input[0] == output else add.input[0]
            source = graph.producer(bias)
            if bias not in graph.constants and (
                source is None or source.op_type != "DequantizeLinear"
            ):
                continue
            inputs.append(bias)
            output = add.output[0]
        gemm = helper.make_node("Gemm", inputs, [output], alpha=1.0, beta=1.0)
        place = graph.nodes.index(matmul)
        graph.nodes[place] = gemm
        if add is not None:
            # A node must stand behind what it reads: the bias may be dequantized in between.
            graph.nodes.remove(gemm)
            graph.nodes[graph.nodes.index(add)] = gemm


def use_uint8_activations(graph: OnnxGraph) -> None:
    """Shifts every activation, input and output included, from int8 to uint8.

    Each code grows by 128 and so does its zero point. ONNX Runtime does the same by itself on x86,
    but not to the graph's input, whose convolution then matches no integer kernel. Weights stay.
    """
    for node in graph.of_kind("QuantizeLinear", "DequantizeLinear"):
        scale, zero_point = node.input[1], node.input[2]
        if node.input[0] in graph.constants or graph.constants[zero_point].dtype != np.int8:
            continue
        shifted = f"{zero_point}_uint8"
        codes = graph.constants[zero_point].astype(np.int16) + 128
        graph.constants[shifted] = codes.astype(np.uint8)
        node.input[:] = [node.input[0], scale, shifted]
    for value in (graph.input, graph.output):
        if value.type.tensor_type.elem_type == TensorProto.INT8:
            value.type.tensor_type.elem_type = TensorProto.UINT8


def name_batch(graph: OnnxGraph) -> None:
    """Calls the first dimension of input and output `batch`: it is any number."""
    for value in (graph.input, graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def name_tensors(graph: OnnxGraph, layers: Sequence[str]) -> None:
    """Names each tensor after its layer and its part: `conv1.weight`, `conv1.output_scale`.

    Each tensor gets a scale and a zero point of its own, where tf2onnx shares equal ones.
    """
    names = {graph.input.name: INPUT}
    layer = INPUT
    remaining = iter(layers)
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            layer = next(remaining)
            for index, part in enumerate(("weight", "bias")[: len(node.input) - 1], 1):
                name = f"{layer}.{part}"
                dequantize = graph.producer(node.input[index])
                if dequantize is None:
                    _own_constants(graph, node, *[""] * index, name)
                else:
                    _own_constants(graph, dequantize, name, f"{name}_scale", f"{name}_zero_point")
                    names[node.input[index]] = f"{name}.dequantized"
            name = f"{layer}.output"
        elif node.input[0] in graph.constants:
            continue  # weights: named by the layer that reads them
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            name = names[node.input[0]].removesuffix(".unrounded")
            _own_constants(graph, node, "", f"{name}_scale", f"{name}_zero_point")
            name += ".dequantized" if node.op_type == "DequantizeLinear" else ""
        else:
            name = f"{names[node.input[0]].removesuffix('.dequantized')}.{node.op_type.lower()}"
            _own_constants(graph, node, "", f"{name}_argument")
        if graph.only_reader(node.output[0], "QuantizeLinear"):
            name += ".unrounded"
        names[node.output[0]] = name
    graph.rename({**names, graph.output.name: OUTPUT})
    for node in graph.nodes:
        node.name = f"{node.op_type}/{node.output[0]}"


def _own_constants(graph: OnnxGraph, node: onnx.NodeProto, *names: str) -> None:
    """Gives a node copies of its constant inputs under names of their own; `""` leaves one."""
    for index, name in enumerate(names[: len(node.input)]):
        if name and node.input[index] in graph.constants:
            graph.constants[name] = graph.constants[node.input[index]]
            node.input[index] = name
