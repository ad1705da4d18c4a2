"""Layers of an int8 TFLite file that stay float, between DEQUANTIZE and QUANTIZE or each other.

TensorFlow's converter rounds the weights of every layer whose input and output are integers, asked
or not. So it may, and this puts the float layer back.
"""

import copy
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.ir.ops import (
    RELU,
    UNCLIPPED,
    Clipping,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Weighted,
)
from tinsmith_export.targets.tflite.convert import layer_of, operator_name, packed

_Code, _Fused = schema.BuiltinOperator, schema.ActivationFunctionType
_ACTIVATIONS: dict[Clipping, int] = {
    UNCLIPPED: _Fused.NONE,
    RELU: _Fused.RELU,
    (0.0, 6.0): _Fused.RELU6,
    (-1.0, 1.0): _Fused.RELU_N1_TO_1,
}
_PRODUCTS: dict[type[Weighted], str] = {
    Conv2D: "CONV_2D",
    DepthwiseConv2D: "DEPTHWISE_CONV_2D",
    Dense: "FULLY_CONNECTED",
}


def keep_float(data: bytes, kept: Sequence[Weighted], unrounded: Collection[str] = ()) -> bytes:
    """Makes layers float in an int8 TFLite file.

    Args:
        data: the file.
        kept: layers that multiply by weights.
        unrounded: the names of nodes whose output is not rounded.

    Returns:
        The file in which each of them reads real numbers, multiplies by its own weights, and has
        its output rounded to the codes that it gave before, or not at all.
    """
    if not kept:
        return data
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    nodes = {(node.name, _PRODUCTS[type(node)]): node for node in kept}
    operators, floats = [], set()
    for operator in graph.operators:
        target = operator.outputs[0]
        layer = layer_of(graph.tensors[target].name.decode())
        node = nodes.get((layer, operator_name(model, operator)))
        source = operator.inputs[0]
        if node is None:
            operators.append(operator)
            if source in floats:  # it moves them
                floats.add(_made_real(graph.tensors, target))
            continue
        reals = source
        if source not in floats:
            reals = _real_copy(graph, source, layer)
            operators.append(_operator(model, _Code.DEQUANTIZE, [source], reals))
        shape = graph.tensors[operator.inputs[1]].shape
        operator.inputs = [reals, *(_constant(model, layer, v) for v in _weights(node, shape))]
        operators.append(operator)
        if node.name in unrounded:
            floats.add(_made_real(graph.tensors, target))
            operators += _clip(model, operator, node)
            continue
        sums = _real_copy(graph, target, layer)
        operator.outputs = [sums]
        operators.append(_operator(model, _Code.QUANTIZE, [sums], target))
    graph.operators = operators
    return packed(model, len(data))


def _clip(model: Any, operator: Any, node: Weighted) -> list[Any]:
    """Clips what a float operator gives: by itself, if it can, or by the operators given."""
    if node.clip in _ACTIVATIONS:
        operator.builtinOptions.fusedActivationFunction = _ACTIVATIONS[node.clip]
        return []
    (target,), made = operator.outputs, [operator]
    for code, limit in zip((_Code.MAXIMUM, _Code.MINIMUM), node.clip, strict=True):
        if limit is not None:
            inner = _real_copy(model.subgraphs[0], target, node.name)
            constant = _constant(model, node.name, np.array(limit, np.float32))
            made[-1].outputs = [inner]
            made.append(_operator(model, code, [inner, constant], target))
    return made[1:]


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


def _made_real(tensors: list[Any], index: int) -> int:
    """Makes a tensor of codes one of real numbers."""
    tensors[index].type, tensors[index].quantization = schema.TensorType.FLOAT32, None
    return index


def _constant(model: Any, layer: str, values: NDArray[np.float32]) -> int:
    buffer, tensor, tensors = schema.BufferT(), schema.TensorT(), model.subgraphs[0].tensors
    buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.name = f"tinsmith/quant_{layer}/constant{len(tensors)}".encode()
    tensor.shape, tensor.type = np.array(values.shape, np.int32), schema.TensorType.FLOAT32
    tensor.buffer = len(model.buffers) - 1
    tensors.append(tensor)
    return len(tensors) - 1


def _operator(model: Any, code: int, inputs: list[int], target: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = _code_index(model, code)
    operator.inputs, operator.outputs = inputs, [target]
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
