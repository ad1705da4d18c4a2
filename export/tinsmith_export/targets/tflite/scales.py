"""Writes the scales that were chosen into an int8 TFLite file.

TensorFlow's converter derives each scale again, from the two ends of a range in float32. About a
fifth come back as another float32.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.ops import Node, Weighted
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import weight_scales
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.targets.tflite.convert import PRODUCTS, layer_of, operator_name, packed

# How far the converter's scale may be off: two ends are rounded, and their quotient.
_MAX_ULP = 2
# The operators that compute new codes. All others move codes, which keep scale and zero point.
_COMPUTING = (*PRODUCTS, "ADD", "MUL", "LOGISTIC", "TANH", "GELU", "SOFTMAX", "EXP", "QUANTIZE")


def with_chosen_scales(data: bytes, quantized: Quantized) -> bytes:
    """Writes the chosen scale of every tensor, and biases in steps of input times weights.

    The factor of a `MUL` keeps the parameters that the converter chose.

    Args:
        data: what TensorFlow's converter made of the quantized model.
        quantized: the model.

    Raises:
        ConversionError: the converter's own scale is more than 2 ulp away, or its zero point is
            another one: it rounded something else than what was chosen, or for what no scale was.
    """
    nodes, ranges = {node.name: node for node in quantized.graph.nodes}, quantized.all_ranges
    steps = weight_scales(quantized.graph, ranges, quantized.weight_bits)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    biases = _Biases(model)
    given = [ranges[node.name] for node in quantized.graph.inputs]
    chosen: dict[int, QuantParams] = dict(zip(graph.inputs, given, strict=True))
    for operator in graph.operators:
        source, (target,) = operator.inputs[0], operator.outputs
        if graph.tensors[target].type != schema.TensorType.INT8:
            continue
        kind = operator_name(model, operator)
        if kind == "GATHER" and source not in chosen:  # a table has the parameters of what it gives
            chosen[source] = ranges[_layer(nodes, graph.tensors[target]).name]
        for index in operator.inputs[:1] if kind in (*PRODUCTS, "MUL") else operator.inputs:
            if graph.tensors[index].type == schema.TensorType.INT8 and index not in chosen:
                raise ConversionError(f"no scale was chosen for {_name(graph.tensors[index])}")
        if kind not in _COMPUTING:
            chosen[target] = chosen[source]
            continue
        node = _layer(nodes, graph.tensors[target])
        chosen[target] = ranges[node.name]
        if kind in PRODUCTS and isinstance(node, Weighted) and node.name in steps:
            step = steps[node.name]
            _choose(graph.tensors[operator.inputs[1]], step, 0)
            biases.write(operator, node, np.float32(chosen[source].scale) * step)
    for index, params in chosen.items():
        _choose(graph.tensors[index], np.array([params.scale], np.float32), params.zero_point)
    return packed(model, len(data))


def _layer(nodes: Mapping[str, Node], tensor: Any) -> Node:
    """The layer that computes a tensor, whose name may go on with a scope inside the layer."""
    name = layer_of(_name(tensor))
    while name not in nodes:
        name, inside, _ = name.rpartition("/")
        if not inside:
            raise ConversionError(f"TFLite computes {_name(tensor)}, which no layer is")
    return nodes[name]


def _name(tensor: Any) -> str:
    name: str = tensor.name.decode()
    return name


def _choose(tensor: Any, scale: NDArray[np.float32], zero_point: int) -> None:
    found = tensor.quantization
    # Positive floats are in the order of their bits.
    ulp = np.abs(found.scale.view(np.int32) - scale.view(np.int32))
    if ulp.max() > _MAX_ULP or (found.zeroPoint != zero_point).any():
        worst = ulp.argmax()
        raise ConversionError(
            f"TensorFlow's converter gave {_name(tensor)} scale {found.scale[worst]:.9g} and "
            f"zero point {found.zeroPoint[worst]}, expected {scale[worst]:.9g} and {zero_point}"
        )
    found.scale = scale


class _Biases:
    """Writes the biases of products.

    The converter rounds equal biases in the steps of the first channel, and stores what is the same
    in several layers once.
    """

    def __init__(self, model: Any) -> None:
        self._buffers, graph = model.buffers, model.subgraphs[0]
        self._tensors = graph.tensors
        read = [index for operator in graph.operators for index in operator.inputs if index >= 0]
        self._readers = Counter(read)
        self._users = Counter(self._tensors[index].buffer for index in read)

    def write(self, operator: Any, node: Weighted, steps: NDArray[np.float32]) -> None:
        """Gives a product the biases of its layer, each channel in its steps."""
        bias = np.zeros(len(steps), np.float32) if node.bias is None else node.bias
        codes = np.rint(bias / steps.astype(np.float64)).astype("<i4")
        source, kernel, *rest = operator.inputs
        index = max(rest, default=-1)
        if index < 0:
            raise ConversionError(f"`{node.name}`: TensorFlow's converter left out the bias")
        index = _alone(self._tensors, index, self._readers)
        operator.inputs, tensor = [source, kernel, index], self._tensors[index]
        tensor.buffer = _alone(self._buffers, tensor.buffer, self._users)
        self._buffers[tensor.buffer].data = np.frombuffer(codes.tobytes(), np.uint8)
        tensor.quantization.scale = steps


def _alone(items: list[Any], index: int, users: Counter[int]) -> int:
    """Where an item is that has one user: the item itself, or a copy of one that has more."""
    if users[index] == 1:
        return index
    users[index] -= 1
    items.append(copy.deepcopy(items[index]))
    return len(items) - 1
