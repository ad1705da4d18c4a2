"""The obvious route, for comparison: TFMOT's `quantize_model`, TFLite, tf2onnx, nothing else."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf2onnx
import tf_keras
from numpy.typing import NDArray

from tinsmith_train.noise import silence


def convert_naively(tflite: bytes) -> onnx.ModelProto:
    """Converts a TFLite file with tf2onnx and nothing else."""
    with tempfile.TemporaryDirectory() as folder, silence():
        path = Path(folder, "model.tflite")
        path.write_bytes(tflite)
        model: onnx.ModelProto = tf2onnx.convert.from_tflite(str(path), opset=17)[0]
    return model


def naive_onnx(
    model: Any, inputs: NDArray[np.float32], labels: NDArray[np.int64], steps: int = 50
) -> bytes:
    """Goes the obvious route with a Keras 3 CNN of ours.

    Args:
        model: Keras 3, functional, Conv2D, BatchNormalization, ReLU, pooling, Dense.
        inputs: `float32 (N, H, W, C)`.
        labels: `int64 (N,)`.
        steps: of fine-tuning, enough for the ranges to move off their defaults.
    """
    quantized = tfmot.quantization.keras.quantize_model(_to_tf_keras(model))
    quantized.compile("adam", "sparse_categorical_crossentropy")
    count = steps * 32
    quantized.fit(inputs[:count], labels[:count], batch_size=32, verbose=0)
    converter = tf.lite.TFLiteConverter.from_keras_model(quantized)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    with silence():
        tflite = converter.convert()
    data: bytes = convert_naively(tflite).SerializeToString()
    return data


def _to_tf_keras(model: Any) -> tf_keras.Model:
    """Rebuilds the model with its batch normalizations, as a user of TFMOT would have it."""
    arguments = {
        "Conv2D": ("filters", "kernel_size", "strides", "padding", "use_bias"),
        "BatchNormalization": ("epsilon",),
        "ReLU": (),
        "MaxPooling2D": ("pool_size",),
        "Flatten": (),
        "Dropout": ("rate",),
        "Dense": ("units", "activation"),
    }
    tensor = source = tf_keras.Input(model.input_shape[1:])
    for layer in model.layers[1:]:
        kind, config = type(layer).__name__, layer.get_config()
        copy = getattr(tf_keras.layers, kind)(**{key: config[key] for key in arguments[kind]})
        tensor = copy(tensor)
        copy.set_weights(layer.get_weights())
    return tf_keras.Model(source, tensor)
