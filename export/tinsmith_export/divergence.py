"""Where two engines part: the first layer whose codes differ between TFLite and ONNX."""

import flatbuffers
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.graph import Graph, Node
from tinsmith_export.onnx import OUTPUT
from tinsmith_export.tflite import FILE_IDENTIFIER, layer_of
from tinsmith_runtime.backends import SIGN_BIT, litert, ort

_COUNT = 16


def first_difference(
    tflite: bytes,
    onnx_model: bytes,
    graph: Graph,
    codes: NDArray[np.int8],
    differ: NDArray[np.bool_],
) -> tuple[str | None, int | None]:
    """Finds the layer where a difference between two int8 files enters.

    Both files are made to give every layer's output, and run on their engines: integers are not
    computed otherwise when more of them are looked at.

    Args:
        tflite: an int8 file.
        onnx_model: an int8 file.
        graph: what both were made of.
        codes: inputs, `int8 (N, …)`.
        differ: on which of them the outputs differ, `bool (N,)`; the first few are looked at.

    Returns:
        The first layer, in the order of computation, whose codes differ, and by how many LSB at
        most; `None` if none does.
    """
    chosen = codes[differ][:_COUNT]
    if not len(chosen):
        return None, None
    found = litert.run_outputs(_open_tflite(tflite), chosen)
    there = {layer_of(name): values for name, values in found.items()}
    here = ort.run_outputs(_open_onnx(onnx_model, graph), chosen.view(np.uint8) ^ SIGN_BIT)
    last = graph.output
    while last.kind == "Reshape":  # a view of what the layer before gives
        last = graph.node(last.inputs[0])
    for node in graph.nodes[1:]:
        output = OUTPUT if node is last else f"{node.name}.output"
        if node.name not in there or output not in here:
            continue
        values = here[output]
        other = (values if output == OUTPUT else _channels_last(node, values)) ^ SIGN_BIT
        codes = other.view(np.int8).reshape(there[node.name].shape)
        lsb = np.abs(there[node.name].astype(np.int16) - codes).max()
        if lsb:
            return node.name, int(lsb)
    return None, None


def _channels_last(node: Node, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # These two have them last inside the ONNX file too.
    last = node.kind in ("Reshape", "LayerNormalization") or values.ndim != 4
    return values if last else values.transpose(0, 2, 3, 1)


def _open_tflite(data: bytes) -> bytes:
    """Makes each layer's codes an output, those of its last operator."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    outputs = {}
    for operator in graph.operators:
        for index in operator.outputs:
            if graph.tensors[index].type == schema.TensorType.INT8:
                outputs[layer_of(graph.tensors[index].name.decode())] = index
    graph.outputs = sorted({*graph.outputs, *outputs.values()})
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _open_onnx(data: bytes, graph: Graph) -> bytes:
    model = onnx.load_from_string(data)
    computed = {name for call in model.graph.node for name in call.output}
    for node in graph.nodes:
        name = f"{node.name}.output"
        if name in computed:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    return bytes(model.SerializeToString())
