"""From a TFLite file to an ONNX file, and a look at what ONNX Runtime makes of one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import tf2onnx

from tinsmith_export.errors import ConversionError
from tinsmith_export.onnx_clean import clean
from tinsmith_runtime.manifest import Input, Output
from tinsmith_train.noise import silence

# ONNX Runtime has read both since 1.15 (2023).
OPSET, IR_VERSION = 17, 8


def to_onnx(tflite: bytes, layers: Sequence[str], source: Input, target: Output) -> bytes:
    """Converts a TFLite file and cleans the result.

    Args:
        tflite: int8 or float.
        layers: the names of the layers that multiply, in order.
        source: the model's input; scale and zero point go into the file's metadata, from where
            the runtime checks them.
        target: the model's output, likewise.

    Raises:
        ConversionError: tf2onnx fails.
    """
    model = clean(convert_naively(tflite), layers)
    model.producer_name, model.doc_string = "tinsmith", ""
    model.graph.name = "tinsmith"
    model.ir_version = IR_VERSION
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    integer = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    if integer:
        metadata = {
            "input_scale": repr(source.scale),
            "input_zero_point": str(source.zero_point),
            "output_scale": repr(target.scale),
            "output_zero_point": str(target.zero_point),
        }
        onnx.helper.set_model_props(model, metadata)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def convert_naively(tflite: bytes) -> onnx.ModelProto:
    """Converts a TFLite file with tf2onnx and nothing else."""
    with tempfile.TemporaryDirectory() as folder, silence():
        path = Path(folder, "model.tflite")
        path.write_bytes(tflite)
        try:
            model: onnx.ModelProto = tf2onnx.convert.from_tflite(str(path), opset=OPSET)[0]
        except Exception as error:
            raise ConversionError(f"tf2onnx failed: {error}") from error
    return model
