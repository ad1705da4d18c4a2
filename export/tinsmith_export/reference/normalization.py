"""Normalizations in TensorFlow's operators, for the converter to see."""

import math
from typing import Any

import tensorflow as tf

from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization


def normalized(node: LayerNormalization | GroupNormalization, x: Any) -> Any:
    """What a node makes of a tensor, `float32 (N, …)`."""
    whole, channels = (-1, *node.shape), node.shape[-1]
    shape, axes = whole, [-1]
    each: tuple[int, ...] = (-1,)
    if isinstance(node, GroupNormalization):
        each = (node.groups, channels // node.groups)
        shape, axes = (-1, math.prod(node.shape[:-1]), *each), [1, 3]
        x = tf.reshape(x, shape)
    gamma, beta = (values.reshape(each) for values in (node.gamma, node.beta))
    if isinstance(node, GroupNormalization) or node.centered:
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)
        x = x - mean
    else:
        variance = tf.reduce_mean(x * x, axes, keepdims=True)
    found = x * tf.math.rsqrt(variance + node.epsilon) * gamma + beta
    return found if shape == whole else tf.reshape(found, whole)
