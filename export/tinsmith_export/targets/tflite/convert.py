"""From tf_keras to a TFLite file, and a look inside one."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_data.quiet import silence
from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Rearrangement
from tinsmith_export.targets.target import Product, output_layers

PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV")
_FILE_IDENTIFIER = b"TFL3"
_OPERATORS = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}


def to_int8_tflite(model: tf_keras.Model) -> bytes:
    """Converts a fake-quantized model, int8 in and out.

    Raises:
        ConversionError: the converter fails, or leaves an operator that multiplies in float.
    """
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    data = _convert(converter)
    _require_whole(data)
    floats = [product.layer for product in products(data) if not product.integer]
    floats += [layer for layer, integer in matrix_products(data).items() if not integer]
    if floats:
        raise ConversionError(f"TFLite still multiplies in float: {', '.join(floats)}")
    return data


def to_float_tflite(model: tf_keras.Model) -> bytes:
    """Converts a float model, float32 in and out."""
    return _convert(_converter(model))


def _converter(model: tf_keras.Model) -> Any:
    """A converter of the graph alone: that of a Keras model stores it first, 15 times as slow."""

    def run(*inputs: tf.Tensor) -> Any:
        return model(inputs if len(inputs) > 1 else inputs[0], training=False)

    signature = [tf.TensorSpec(source.shape, tf.float32, source.name) for source in model.inputs]
    graph = tf.function(run).get_concrete_function(*signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], model)
    converter.experimental_lower_to_saved_model = False
    return converter


def _require_whole(data: bytes) -> None:
    """Checks that each operator has what it reads: LiteRT crashes on a file where one has not."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for operator in model.subgraphs[0].operators:
        if min(operator.inputs[:2]) < 0:  # a bias, behind them, may be missing
            name = model.subgraphs[0].tensors[operator.outputs[0]].name.decode()
            raise ConversionError(f"TensorFlow's converter left out what {name} is computed from")


def with_names(data: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Puts other names to inputs and outputs; what there is one of keeps the name that it has.

    Args:
        data: a TFLite file.
        inputs: the names, in the file's order, which is the model's.
        outputs: the same of the outputs.
    """
    if len(inputs) == len(outputs) == 1:
        return data
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    for tensors, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for index, name in zip(tensors, names, strict=True) if len(names) > 1 else ():
            graph.tensors[index].name = name.encode()
    return packed(model, len(data))


def packed(model: Any, size: int) -> bytes:
    """The bytes of a TFLite model; `size` is about how many they are."""
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output())


def _convert(converter: Any) -> bytes:
    try:
        with silence():
            data: bytes = converter.convert()
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"TensorFlow's converter failed: {first}") from error
    return data


def products(data: bytes) -> list[Product]:
    """Lists the operators of a TFLite file that multiply by a constant, in order."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    subgraph = model.subgraphs[0]

    def values(tensor: Any) -> NDArray[Any]:
        dtype = {
            schema.TensorType.INT8: np.int8,
            schema.TensorType.INT32: np.int32,
            schema.TensorType.FLOAT32: np.float32,
        }[tensor.type]
        raw = bytes(model.buffers[tensor.buffer].data)
        return np.frombuffer(raw, dtype).reshape(tensor.shape)

    found = []
    for operator in subgraph.operators:
        name = operator_name(model, operator)
        if name not in (*PRODUCTS, "MUL"):
            continue
        source, weights, *rest = (subgraph.tensors[i] for i in operator.inputs if i >= 0)
        if model.buffers[weights.buffer].data is None:
            continue  # of two computed tensors
        result = subgraph.tensors[operator.outputs[0]]
        integer = all(t.type == schema.TensorType.INT8 for t in (source, weights, result))
        if name == "MUL" and not integer:
            continue  # part of a function between two roundings
        params = weights.quantization.scale if integer else []
        found.append(
            Product(
                operator=name,
                layer=layer_of(result.name.decode()),
                integer=integer,
                exact=name == "MUL" or getattr(operator.builtinOptions, "depthMultiplier", 0) == 1,
                weights=values(weights),
                weight_scale=np.asarray(params, np.float32),
                weight_zero_point=_params(weights)[1],
                bias=values(rest[0]) if rest else None,
                input=_params(source),
                output=_params(result),
            )
        )
    return found


def matrix_products(data: bytes) -> dict[str, bool]:
    """The layers of a TFLite file that multiply two computed tensors: whether on integers."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    subgraph, found = model.subgraphs[0], {}
    for operator in subgraph.operators:
        if operator_name(model, operator) not in PRODUCTS:
            continue
        one, other, *_ = (subgraph.tensors[index] for index in operator.inputs)
        if model.buffers[other.buffer].data is None:
            result = subgraph.tensors[operator.outputs[0]]
            types = {tensor.type for tensor in (one, other, result)}
            found[layer_of(result.name.decode())] = types == {schema.TensorType.INT8}
    return found


def operator_name(model: Any, operator: Any) -> str:
    """What TFLite calls an operator of a model, `CONV_2D` for example."""
    code = model.operatorCodes[operator.opcodeIndex]
    return str(_OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)])


def layer_of(name: str) -> str:
    """The layer in a tensor's name, `model/quant_LAYER/Operator;…`, one for each fused operator."""
    for part in name.split(";"):
        _, found, rest = part.partition("/quant_")
        if found:
            return rest.rpartition("/")[0]
    return name.split(";")[0].partition("/")[2].rpartition("/")[0]


def layer_tensors(model: Any, graph: Graph) -> dict[str, list[int]]:
    """The int8 tensors that each layer computes, in order; what belongs to none is named "".

    Args:
        model: of a file whose outputs have their names.
        graph: what it was made of.
    """
    layers, owners = {node.name: node for node in graph.nodes}, output_layers(graph)
    found: dict[str, list[int]] = {}
    (subgraph,) = model.subgraphs
    for operator in subgraph.operators:
        for index in operator.outputs:
            if subgraph.tensors[index].type != schema.TensorType.INT8:
                continue
            name = subgraph.tensors[index].name.decode()
            first = layer_of(name.partition(";")[0])  # what a movement reads may follow it
            is_movement = isinstance(layers.get(first), Rearrangement)
            layer = owners.get(name) or (first if is_movement else layer_of(name))
            while layer and layer not in layers:  # it goes on with a scope inside the layer
                layer = layer.rpartition("/")[0]
            moves = operator_name(model, operator) in ("RESHAPE", "TRANSPOSE")
            if moves and name not in owners and not isinstance(layers.get(layer), Rearrangement):
                continue  # the converter names it after what it moves
            found.setdefault(layer, []).append(index)
    return found


def _params(tensor: Any) -> tuple[float, int]:
    params = tensor.quantization
    if params is None or params.scale is None:
        return 0.0, 0
    return float(params.scale[0]), int(params.zeroPoint[0])
