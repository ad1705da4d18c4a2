"""The routes that a Keras user would go without tinsmith, to be measured beside it.

`tinsmith bench --against` finds them through the entry-point group `tinsmith.competitors` and calls
each in a process of its own. Each takes `model`, the path of the Keras model, `float_onnx`, the
bundle's float ONNX file, `inputs` and `labels` to calibrate or train on, as far as there are any,
`entry`, the bundle's input, and `grid`, its scale and zero point; it gives a `CompetitorModel`. Its
file takes and gives float32, as these tools make it unless told otherwise, or int8 where its
input's grid came out as the bundle's, so that a device would feed both alike. Where no such number
can stand for a pixel, as with a mean for each channel, a 1 x 1 convolution before the model makes
of pixels what it takes.

| name | route |
|---|---|
| `keras` | the float model itself, in Keras |
| `tflite-dynamic` | TensorFlow's converter with `Optimize.DEFAULT`: int8 weights, float inputs |
| `tflite-ptq` | the same with a representative dataset: int8 |
| `ort-ptq` | ONNX Runtime's `quantize_static` on the bundle's float ONNX, int8 by channel |
| `naive` | TFMOT's `quantize_model`, one epoch, TensorFlow's converter, tf2onnx |
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.quiet import import_tensorflow, silence
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.bundle import Input, PixelRanges
from tinsmith_runtime.errors import UsageError

Inputs = NDArray[np.float32]
# TensorFlow's and ONNX Runtime's guides calibrate on 100 to 500.
CALIBRATION_INPUTS = 500
# TFMOT's guide fine-tunes on 1,000 images for one epoch, in batches of 500.
TRAINING_INPUTS, BATCH = 5000, 32
# What tf2onnx 1.17 writes and ONNX Runtime reads.
OPSET = 17


@dataclass(frozen=True)
class CompetitorModel:
    """What a route made of a model.

    Attributes:
        form: `tflite`, `onnx` or `keras`.
        precision: `float`, `int8`, or `int8 weights`.
        data: the file.
        activated: whether the Keras model's own last activation is in it.
        codes: scale and zero point of an int8 output, whose input is the bundle's int8 too; `None`
            where it takes and gives float32.
    """

    form: str
    precision: str
    data: bytes
    activated: bool
    codes: tuple[float, int] | None = None


def keras(*, model: Path | None, entry: Input | None = None, **_: Any) -> CompetitorModel:
    """The float Keras model itself."""
    loaded = _load(model)
    assert model is not None
    if model.suffix == ".keras" and (entry is None or entry.pixel_ranges is None):
        return CompetitorModel("keras", "float", model.read_bytes(), True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        _behind_pixels(loaded, entry).save(path)
        return CompetitorModel("keras", "float", path.read_bytes(), True)


def tflite_dynamic(*, model: Path | None, entry: Input | None = None, **_: Any) -> CompetitorModel:
    """TensorFlow's dynamic range quantization: weights in int8, activations in float."""
    converter = _converter(_behind_pixels(_load(model), entry))
    return CompetitorModel("tflite", "int8 weights", _convert(converter), True)


def tflite_ptq(
    *,
    model: Path | None,
    inputs: Inputs | None,
    grid: tuple[float, int],
    entry: Input | None = None,
    **_: Any,
) -> CompetitorModel:
    """TensorFlow's post-training quantization."""
    loaded, chosen = _behind_pixels(_load(model), entry), _calibration(inputs)
    for dtype in ("int8", "float32"):
        data = quantize_with_tensorflow(loaded, chosen, dtype)
        found = create_backend("litert", data, 1)
        if (found.inputs[0].scale, found.inputs[0].zero_point) == grid:
            codes = found.outputs[0].scale, found.outputs[0].zero_point
            return CompetitorModel("tflite", "int8", data, True, codes)
    return CompetitorModel("tflite", "int8", data, True)


def convert_with_tensorflow(model: Any) -> bytes:
    """Converts a Keras model to a float TFLite file."""
    import tensorflow as tf

    return _convert(tf.lite.TFLiteConverter.from_keras_model(model))


def quantize_with_tensorflow(model: Any, inputs: Inputs, dtype: str = "float32") -> bytes:
    """Converts a Keras model to TFLite by TensorFlow's post-training quantization.

    Args:
        model: of Keras 3 or tf_keras.
        inputs: `float32 (N, ...)` to calibrate on, all of them.
        dtype: of the file's inputs and outputs, `int8` or `float32`.
    """
    import tensorflow as tf

    converter = _converter(model)
    converter.representative_dataset = lambda: ([one[np.newaxis]] for one in inputs)
    converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(dtype)
    return _convert(converter)


def ort_ptq(*, float_onnx: bytes | None, inputs: Inputs | None, **_: Any) -> CompetitorModel:
    """ONNX Runtime's static quantization, after its own pre-processing, as its guide says."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if float_onnx is None:
        raise UsageError("ort-ptq quantizes the bundle's float ONNX file, and it holds none")
    name = onnx.load_from_string(float_onnx).graph.input[0].name
    feeds: Iterator[dict[str, Any]] = ({name: one[np.newaxis]} for one in _calibration(inputs))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory() as folder, silence():
        source, prepared, result = (
            Path(folder, f"{stage}.onnx") for stage in ("float", "prepared", "int8")
        )
        source.write_bytes(float_onnx)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(result), Reader(), per_channel=True)
        return CompetitorModel("onnx", "int8", result.read_bytes(), False)


def naive(
    *,
    model: Path | None,
    inputs: Inputs | None,
    labels: NDArray[Any] | None,
    entry: Input | None = None,
    **_: Any,
) -> CompetitorModel:
    """The obvious route: quantization-aware training with TFMOT, TFLite, tf2onnx."""
    if inputs is None:
        raise UsageError(_NO_INPUTS)
    loaded, chosen = _load(model), inputs[:TRAINING_INPUTS]
    if entry is not None and entry.pixel_ranges is not None:
        kernel, offset = _from_pixels(entry, entry.pixel_ranges)
        chosen = chosen @ kernel + offset
    trained = train_naively(loaded, chosen, None if labels is None else labels[: len(chosen)])
    data = _convert(_converter(_behind_pixels(trained, entry)))
    return CompetitorModel("onnx", "int8", to_onnx_naively(data), True)


def train_naively(model: Any, inputs: Inputs, labels: NDArray[Any] | None) -> Any:
    """Quantizes a model with TFMOT's defaults and trains it for an epoch.

    Args:
        model: of Keras 3 or tf_keras.
        inputs: `float32 (N, ...)`.
        labels: classes `int64 (N,)`, or values; without any, the model learns from its own outputs.

    Returns:
        A `tf_keras.Model` that is fake-quantized.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras

    from tinsmith_export.competitors.tf_keras_copy import copy_to_tf_keras

    tf_keras.utils.set_random_seed(0)
    copied = copy_to_tf_keras(model)
    outputs = copied.predict(inputs[:BATCH], verbose=0)
    loss, targets = "mse", labels
    if labels is None:
        targets = copied.predict(inputs, verbose=0)
    elif labels.dtype.kind in "iu":
        probabilities = bool(outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    quantized = tfmot.quantization.keras.quantize_model(copied)
    quantized.compile("adam", loss)
    quantized.fit(inputs, targets, batch_size=BATCH, verbose=0)
    return quantized


def to_onnx_naively(tflite: bytes) -> bytes:
    """Converts a TFLite file with tf2onnx and nothing else."""
    import tf2onnx

    with tempfile.TemporaryDirectory() as folder, silence():
        path = Path(folder, "model.tflite")
        path.write_bytes(tflite)
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
    data: bytes = model.SerializeToString()
    return data


_NO_INPUTS = (
    "training inputs are needed: name a dataset with --data, or a FILE.npz that holds x_train and "
    "y_train too"
)


def _load(model: Path | None) -> Any:
    if model is None:
        raise UsageError("the Keras model is needed, which no bundle holds: name it with --model")
    import_tensorflow()
    from tinsmith_export.frontend.load import load_keras

    return load_keras(model)


def _behind_pixels(model: Any, entry: Input | None) -> Any:
    """The model behind a convolution that makes what it takes of what the bundle's input says."""
    if entry is None or entry.pixel_ranges is None:
        return model
    import keras as keras3
    import tf_keras

    library: Any = tf_keras if isinstance(model, tf_keras.Model) else keras3
    kernel, offset = _from_pixels(entry, entry.pixel_ranges)
    source = library.Input(entry.sample_shape, name="pixels")
    scaling = library.layers.Conv2D(len(offset), 1, name="from_pixels")
    found = library.Model(source, model(scaling(source)), name=f"{model.name}_behind_pixels")
    scaling.set_weights([kernel[None, None], offset])
    return found


def _from_pixels(entry: Input, pixels: PixelRanges) -> tuple[NDArray[np.float32], Inputs]:
    """What `value_range` says of a pixel, times a matrix `(C, C)`, plus `(C,)`."""
    start, end = entry.value_range or (0.0, 255.0)
    channels = entry.sample_shape[-1]
    low, high = np.broadcast_to(np.transpose(pixels.ranges), (2, channels))
    factor = (high - low) / (end - start)
    kernel = np.diag(factor)[:: -1 if pixels.channels == "bgr" else 1]
    return kernel.astype(np.float32), (low - start * factor).astype(np.float32)


def _calibration(inputs: Inputs | None) -> Inputs:
    if inputs is None:
        raise UsageError(_NO_INPUTS)
    return inputs[:CALIBRATION_INPUTS]


def _converter(model: Any) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter


def _convert(converter: Any) -> bytes:
    with silence():
        data: bytes = converter.convert()
    return data
