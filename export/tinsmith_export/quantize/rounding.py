"""Rounds tensors to int8 codes, over ranges that are fixed or learned."""

from typing import Any

import tensorflow as tf
import tf_keras

from tinsmith_export.ir.quantization import QuantParams


def rounded(tensor: Any, params: QuantParams, width: tf.Variable | None = None) -> Any:
    """A tensor, rounded to int8 codes.

    Args:
        tensor: `float32`.
        params: what codes stand for.
        width: see `fake_quantize`. Its gradient is that of LSQ, Esser et al. 2020
            (arXiv:1902.08153), of a logarithm as in TQT, Jain et al. 2020 (arXiv:1903.08066).
    """
    if width is None:
        return tf.quantization.fake_quant_with_min_max_args(tensor, params.low, params.high)
    low, high = -128.0 - params.zero_point, 127.0 - params.zero_point

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def of_scale(tensor: Any, scale: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            codes = tensor / scale
            inside = tf.cast((codes >= low) & (codes <= high), tf.float32)
            change = tf.round(tf.clip_by_value(codes, low, high)) - codes * inside
            return upstream * inside, tf.reduce_sum(upstream * change)

        return tf.round(tf.clip_by_value(tensor / scale, low, high)) * scale, gradient

    return of_scale(tensor, params.scale * tf.pow(2.0, width))


class Rounding(tf_keras.layers.Layer):  # type: ignore[misc]
    """Rounds a tensor to int8 codes."""

    def __init__(
        self, params: QuantParams, width: tf.Variable | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._params, self._width = params, width

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The tensor, rounded."""
        return rounded(inputs, self._params, self._width)


class _Learned:
    """Rounds a tensor to int8 codes whose range is learned.

    It has the methods of a `Quantizer` of TensorFlow Model Optimization.
    """

    def __init__(self, params: QuantParams, width: tf.Variable) -> None:
        self._params, self._width = params, width

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        layer.width = self._width  # so it is a variable of the model
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        return rounded(inputs, self._params, self._width)

    def get_config(self) -> dict[str, Any]:
        return {}


def output_quantizer(params: QuantParams, width: tf.Variable | None) -> Any:
    """What rounds a layer's output in a wrapper of TensorFlow Model Optimization."""
    if width is not None:
        return _Learned(params, width)
    from tensorflow_model_optimization.quantization.keras.quantizers import FixedQuantizer

    return FixedQuantizer(8, params.low, params.high, narrow_range=False)
