"""From tf_keras to a TFLite file, and a look inside one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.errors import ConversionError
from tinsmith_train.noise import silence

PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV")
_OPERATORS = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}


@dataclass(frozen=True)
class Product:
    """One operator that multiplies.

    Attributes:
        operator: `CONV_2D` for example.
        name: its output tensor's name.
        integer: whether input, weights and output are int8.
        weights: as stored, `int8` or `float32`, output channel first (depthwise: last).
    """

    operator: str
    name: str
    integer: bool
    weights: NDArray[Any]


def to_int8_tflite(model: tf_keras.Model) -> bytes:
    """Converts a fake-quantized model, int8 in and out.

    Raises:
        ConversionError: the converter fails, or leaves an operator that multiplies in float.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    data = _convert(converter)
    floats = [p.name for p in products(data) if not p.integer]
    if floats:
        raise ConversionError(f"TFLite still multiplies in float: {', '.join(floats)}")
    return data


def to_float_tflite(model: tf_keras.Model) -> bytes:
    """Converts a float model, float32 in and out."""
    return _convert(tf.lite.TFLiteConverter.from_keras_model(model))


def _convert(converter: Any) -> bytes:
    try:
        with silence():
            data: bytes = converter.convert()
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"TensorFlow's converter failed: {first}") from error
    return data


def products(data: bytes) -> list[Product]:
    """Lists the operators of a TFLite file that multiply, in order."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    subgraph = model.subgraphs[0]
    found = []
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name not in PRODUCTS:
            continue
        source, weights, result = (
            subgraph.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0])
        )
        integer = all(t.type == schema.TensorType.INT8 for t in (source, weights, result))
        raw = bytes(model.buffers[weights.buffer].data)
        values = np.frombuffer(raw, np.int8 if integer else np.float32).reshape(weights.shape)
        found.append(Product(name, result.name.decode(), integer, values))
    return found
