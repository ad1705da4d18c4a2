"""The codes that LiteRT itself gives for the functions of a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import TargetError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Function
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.tflite.convert import layer_tensors, operator_name, packed
from tinsmith_runtime.backends.litert import open_interpreter

_CODES = np.arange(-128, 128).astype(np.int8)


def function_tables(
    data: bytes, graph: Graph, params: Mapping[str, QuantParams]
) -> dict[str, NDArray[np.int8]]:
    """Runs every function of an int8 TFLite file by itself, on all codes.

    Args:
        data: the file.
        graph: what it was made of.
        params: the quantization parameters of each layer's output, by its name.

    Returns:
        Layer name to the codes that LiteRT gives for -128 to 127, `int8 (256,)`.

    Raises:
        TargetError: the file has no such layer, or the layer reads other codes.
    """
    # Two of the same input may be one in the file. A function and its codes decide the table.
    functions = {
        node: (node.function, node.parameter, params[node.inputs[0]], params[node.name])
        for node in graph.layers
        if isinstance(node, Function)
    }
    tables: dict[tuple[str, float, QuantParams, QuantParams], NDArray[np.int8]] = {}
    layers = layer_tensors(schema.ModelT.InitFromPackedBuf(data, 0), graph)
    for node, kind in functions.items():
        if node.name in layers and kind not in tables:
            model = schema.ModelT.InitFromPackedBuf(data, 0)  # of which the function alone is left
            tables[kind] = _table(model, layers[node.name][-1], node, params[node.inputs[0]])
    for node, kind in functions.items():
        if kind not in tables:
            raise TargetError(f"layer `{node.name}`: the TFLite file has no such function")
    return {node.name: tables[kind] for node, kind in functions.items()}


def _table(model: Any, result: int, node: Function, source: QuantParams) -> NDArray[np.int8]:
    """What the operators give that lie between the codes that a layer reads, and its own."""
    (subgraph,) = model.subgraphs
    makers = {operator.outputs[0]: operator for operator in subgraph.operators}

    def shaped(index: int) -> int:
        """What a tensor was before it was reshaped: that may lie in the middle of a function."""
        while index in makers and operator_name(model, makers[index]) == "RESHAPE":
            index = makers[index].inputs[0]
        return index

    result = shaped(result)
    operators, first = [makers[result]], set()
    for operator in operators:  # it grows: back to the codes that the layer reads
        operator.inputs = [shaped(index) for index in operator.inputs]
        for index in operator.inputs:
            if index not in makers:
                continue  # a constant
            if _is_int8(subgraph, index):
                first.add(index)
            elif makers[index] not in operators:
                operators.append(makers[index])
    if len(first) != 1:
        raise TargetError(f"layer `{node.name}`: TFLite's function reads {len(first)} tensors")
    (begin,) = first
    found = subgraph.tensors[begin].quantization
    if (float(found.scale[0]), int(found.zeroPoint[0])) != (source.scale, source.zero_point):
        raise TargetError(f"layer `{node.name}`: TFLite's function reads other codes")
    subgraph.operators = [one for one in subgraph.operators if one in operators]
    subgraph.inputs, subgraph.outputs, model.signatureDefs = [begin], [result], []
    try:
        return _run(packed(model, 1 << 16), len(subgraph.tensors[begin].shape))
    except (RuntimeError, ValueError) as error:
        raise TargetError(f"layer `{node.name}`: LiteRT does not run its function alone") from error


def _is_int8(subgraph: Any, index: int) -> bool:
    return bool(subgraph.tensors[index].type == schema.TensorType.INT8)


def _run(data: bytes, rank: int) -> NDArray[np.int8]:
    """What a file of one input gives for all codes, which lie in the last dimension."""
    interpreter = open_interpreter(data, 1)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(source["index"], (*(1,) * (rank - 1), 256))
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], _CODES.reshape(*(1,) * (rank - 1), 256))
    interpreter.invoke()
    codes: NDArray[np.int8] = interpreter.get_tensor(target["index"]).reshape(256)
    return codes
