"""Layers of an int8 TFLite file that stay float, between DEQUANTIZE and QUANTIZE.

TensorFlow's converter rounds the weights of every layer whose input and output are integers, asked
or not. So it may, and this puts the float layer back.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.ir.ops import Conv2D, Dense, DepthwiseConv2D, Weighted
from tinsmith_export.targets.tflite.convert import layer_of, operator_name, packed

_PRODUCTS: dict[type[Weighted], str] = {
    Conv2D: "CONV_2D",
    DepthwiseConv2D: "DEPTHWISE_CONV_2D",
    Dense: "FULLY_CONNECTED",
}


def keep_float(data: bytes, kept: Sequence[Weighted]) -> bytes:
    """Makes layers float in an int8 TFLite file.

    Args:
        data: the file.
        kept: layers that multiply by weights.

    Returns:
        The file in which each of them reads real numbers, multiplies by its own weights, and has
        its output rounded to the codes that it gave before.
    """
    if not kept:
        return data
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    nodes = {(node.name, _PRODUCTS[type(node)]): node for node in kept}
    operators = []
    for operator in graph.operators:
        target = operator.outputs[0]
        layer = layer_of(graph.tensors[target].name.decode())
        node = nodes.get((layer, operator_name(model, operator)))
        if node is None:
            operators.append(operator)
            continue
        source = operator.inputs[0]
        reals, sums = (_real_copy(graph, tensor, layer) for tensor in (source, target))
        shape = graph.tensors[operator.inputs[1]].shape
        operator.inputs = [reals, *(_constant(model, layer, v) for v in _weights(node, shape))]
        operator.outputs = [sums]
        operators += [
            _conversion(model, schema.BuiltinOperator.DEQUANTIZE, source, reals),
            operator,
            _conversion(model, schema.BuiltinOperator.QUANTIZE, sums, target),
        ]
    graph.operators = operators
    return packed(model, len(data))


def _weights(node: Weighted, shape: NDArray[np.int32]) -> list[NDArray[np.float32]]:
    """Kernel, in the file's layout, and bias; a kernel that differs in size cannot take it."""
    kernel = node.channel_kernel
    if not isinstance(node, DepthwiseConv2D):
        kernel = np.moveaxis(kernel, -1, 0)
    bias = np.zeros(node.channels, np.float32) if node.bias is None else node.bias
    return [kernel.reshape(shape), bias]


def _real_copy(graph: Any, tensor: int, layer: str) -> int:
    """Adds a float tensor of the same shape."""
    found = copy.copy(graph.tensors[tensor])
    found.name = f"tinsmith/quant_{layer}/float{len(graph.tensors)}".encode()
    found.type, found.quantization, found.buffer = schema.TensorType.FLOAT32, None, 0
    graph.tensors.append(found)
    return len(graph.tensors) - 1


def _constant(model: Any, layer: str, values: NDArray[np.float32]) -> int:
    buffer, tensor, tensors = schema.BufferT(), schema.TensorT(), model.subgraphs[0].tensors
    buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.name = f"tinsmith/quant_{layer}/constant{len(tensors)}".encode()
    tensor.shape, tensor.type = np.array(values.shape, np.int32), schema.TensorType.FLOAT32
    tensor.buffer = len(model.buffers) - 1
    tensors.append(tensor)
    return len(tensors) - 1


def _conversion(model: Any, code: int, source: int, target: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = _code_index(model, code)
    operator.inputs, operator.outputs = [source], [target]
    return operator


def _code_index(model: Any, code: int) -> int:
    for index, known in enumerate(model.operatorCodes):
        if known.builtinCode == code:
            return index
    known = schema.OperatorCodeT()
    # Since version 2 both know int8.
    known.builtinCode, known.deprecatedBuiltinCode, known.version = code, code, 2
    model.operatorCodes.append(known)
    return len(model.operatorCodes) - 1
