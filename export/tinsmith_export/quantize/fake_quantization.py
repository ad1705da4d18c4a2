"""The fake-quantized model: weights and activations rounded as in the int8 files.

The arithmetic is that of Jacob et al. 2018 (arXiv:1712.05877): `real = (int8 - zero_point) *
scale`, weights symmetric (zero point 0) with a scale for each output channel.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.ir.bits import FLOAT_BITS, WEIGHT_BITS, largest_code
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import (
    UNCLIPPED,
    Clip,
    Clipped,
    DepthwiseConv2D,
    InputLayer,
    Node,
    Weighted,
)
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.rounding import Rounding, output_quantizer
from tinsmith_export.reference.rebuild import rebuild

# int32, less what fine-tuning and the sum of products may add.
_MAX_BIAS_CODE = 2**28
# A vpmaddubsw instruction adds two uint8 x int8 products in int16: 255 * (w1 + w2) <= 32767.
_MAX_PAIR = 128
# The converter widens a range of weights that is narrower than 1e-6, and rounds them again.
_MIN_WEIGHT = 5.1e-7
_LARGEST = largest_code(WEIGHT_BITS)


def choose_weight_bits(graph: Graph, least: int) -> dict[str, int]:
    """Chooses `least` bits for each layer whose 8-bit weights could saturate an x86 kernel.

    ONNX Runtime's AVX2 kernels add two products in 16 bits, which overflow where two weights of
    one channel have the same sign and sum to more than 128. Which two meet depends on the
    kernel's memory layout, so any two of a channel count. Its depthwise kernels add in 32 bits, but
    only where a channel has one output: more of them are products of matrices there.
    """
    bits = {}
    for node in graph.weighted:
        kernel = node.channel_kernel.reshape(-1, node.channels)
        largest = np.abs(kernel).max(axis=0)
        codes = np.round(kernel / np.maximum(largest, 1e-30) * _LARGEST)
        exact = isinstance(node, DepthwiseConv2D) and node.kernel.shape[3] == 1
        bits[node.name] = WEIGHT_BITS if exact or not can_saturate(codes) else least
    return bits


def can_saturate(codes: NDArray[Any]) -> bool:
    """Says whether two weights of one channel could overflow an int16 sum of two products.

    Args:
        codes: int8 weights, `(K, channels)`.
    """
    pairs = [np.sort(np.maximum(sign * codes, 0), axis=0)[-2:].sum(axis=0) for sign in (1, -1)]
    return bool(np.max(pairs) > _MAX_PAIR)


def fake_quantize(
    graph: Graph,
    ranges: Mapping[str, QuantParams],
    bits: Mapping[str, int],
    widths: Mapping[str, tf.Variable] = MappingProxyType({}),
) -> tf_keras.Model:
    """Builds the model that computes in float what the integer engines will compute.

    Args:
        graph: a rewritten graph.
        ranges: of every layer and the input whose output is rounded.
        bits: from `choose_weight_bits`; a layer of `FLOAT_BITS` keeps its weights as they are.
        widths: of ranges that are learned: the logarithm to base 2 of how many times wider they
            become, by the name of each layer that has such a range.

    Returns:
        A tf_keras model with the layers of TensorFlow Model Optimization, to train or convert.
    """
    # 0.6 s, which nobody pays who only asks what becomes of a model.
    from tensorflow_model_optimization.quantization.keras import QuantizeWrapperV2

    quantizers = _kernel_quantizers(graph, ranges, bits)
    weights = {node.name: quantizer for node, quantizer in quantizers}

    def wrap(node: Node, layer: Any) -> Any:
        if isinstance(node, InputLayer):
            return Rounding(ranges[node.name], name=f"quant_{node.name}")
        width = widths.get(node.name)
        if isinstance(node, Clip):
            rounding = Rounding(ranges[node.name], width, name=f"quant_{node.name}")
            return lambda tensor: rounding(layer(tensor))
        if not node.requantizes:
            return layer
        config = _LayerConfig(node, ranges.get(node.name), weights.get(node.name), width)
        return QuantizeWrapperV2(layer, config)

    nodes = (unclipped(node) if node.name in ranges else node for node in graph.nodes)
    return rebuild(Graph(tuple(nodes)), wrap)


def unclipped(node: Node) -> Node:
    """Takes out the clip that the range of integers is anyway."""
    if node.requantizes and isinstance(node, Clipped):
        return replace(node, clip=UNCLIPPED)
    return node


def rounded_kernels(
    graph: Graph, ranges: Mapping[str, QuantParams], bits: Mapping[str, int]
) -> dict[str, NDArray[np.float32]]:
    """The kernels that integer engines multiply by, in Keras's layout, by the layer's name.

    Layers of `FLOAT_BITS` have none.

    Args:
        graph: as `fake_quantize`, like the other arguments.
        ranges: as `fake_quantize`.
        bits: as `fake_quantize`.
    """
    return {
        node.name: np.asarray(quantizer(tf.constant(node.kernel), False, {}))
        for node, quantizer in _kernel_quantizers(graph, ranges, bits)
    }


def weight_scales(
    graph: Graph, ranges: Mapping[str, QuantParams], bits: Mapping[str, int]
) -> dict[str, NDArray[np.float32]]:
    """The scale of each output channel's weights, `float32 (channels,)`, by the layer's name.

    Layers of `FLOAT_BITS` have none.

    Args:
        graph: as `fake_quantize`, like the other arguments.
        ranges: as `fake_quantize`.
        bits: as `fake_quantize`.
    """
    return {
        node.name: (quantizer.largest(tf.constant(node.channel_kernel)) / _LARGEST).numpy()
        for node, quantizer in _kernel_quantizers(graph, ranges, bits)
    }


def _kernel_quantizers(
    graph: Graph, ranges: Mapping[str, QuantParams], bits: Mapping[str, int]
) -> list[tuple[Weighted, "_Weights"]]:
    """Each layer whose weights are rounded, with what rounds its kernel."""
    kernels: Counter[bytes] = Counter()
    found = []
    for node in graph.weighted:
        if bits[node.name] == FLOAT_BITS:
            continue
        kernel = node.channel_kernel.tobytes()
        least = _least_weights(node, ranges[node.inputs[0]])
        # Of a recurrent layer's steps the first has the weights of all.
        trace = kernels[kernel] * 2.0 ** (-22 if node.shared else -16)
        found.append((node, _Weights(node, bits[node.name], least, trace)))
        kernels[kernel] += 1
    return found


def _least_weights(node: Weighted, source: QuantParams) -> NDArray[np.float64]:
    """The weight that code 127 must at least stand for, a channel: its bias has to fit in int32.

    A bias is stored in steps of the input's scale times the weights' scale.
    """
    bias = np.abs(np.zeros(node.channels) if node.bias is None else node.bias).astype(np.float64)
    return np.maximum(_LARGEST * bias / (source.scale * _MAX_BIAS_CODE), _MIN_WEIGHT)


class _Weights:
    """Rounds weights to `bits` bits, symmetric, with a scale a channel.

    It has the methods of a `Quantizer` of TensorFlow Model Optimization.

    The converter knows 8-bit codes alone. So fewer bits are 8-bit codes over a range that is wider
    than the weights: of 7 bits none is larger than 63. Of two equal kernels over equal ranges the
    converter makes one constant, and forgets its range: so the same kernel again has another, a
    trace wider.
    """

    def __init__(self, node: Weighted, bits: int, least: NDArray[np.float64], again: float) -> None:
        self._depthwise = isinstance(node, DepthwiseConv2D)
        self._headroom = _LARGEST / largest_code(bits) * (1 + again)
        self._least = least.astype(np.float32)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        kernel = inputs
        if self._depthwise:
            kernel = tf.reshape(kernel, (*inputs.shape[:2], -1))
        largest = tf.stop_gradient(self.largest(kernel))
        rounded = (_straight_through if training is True else _rounded)(kernel, largest)
        return tf.reshape(rounded, inputs.shape)

    def largest(self, kernel: Any) -> Any:
        """What code 127 stands for, a channel; these come last."""
        largest = tf.reduce_max(tf.abs(kernel), axis=list(range(kernel.shape.rank - 1)))
        return tf.maximum(largest * self._headroom, self._least)

    def get_config(self) -> dict[str, Any]:
        return {}


def _rounded(kernel: Any, largest: Any) -> Any:
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -largest, largest, num_bits=WEIGHT_BITS, narrow_range=True
    )


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _straight_through(kernel: Any, largest: Any) -> Any:
    """Rounds, with the gradient of a range that clips nothing; TensorFlow's own is slow."""
    return _rounded(kernel, largest), lambda upstream: (upstream, None)


class _LayerConfig:
    """What TensorFlow Model Optimization rounds in one layer: kernel and output, if any.

    It has the methods of a `QuantizeConfig`.
    """

    def __init__(
        self,
        node: Node,
        params: QuantParams | None,
        weights: _Weights | None,
        width: tf.Variable | None,
    ) -> None:
        self._node, self._params, self._weights, self._width = node, params, weights, width

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        if self._weights is None or not isinstance(self._node, Weighted):
            return []
        return [(getattr(layer, self._node.kernel_name), self._weights)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        if self._weights is not None and isinstance(self._node, Weighted):
            setattr(layer, self._node.kernel_name, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        pass

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return [] if self._params is None else [output_quantizer(self._params, self._width)]

    def get_config(self) -> dict[str, Any]:
        return {}
