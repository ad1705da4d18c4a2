"""Weights rounded so that a layer's output changes least, instead of each to the nearest code.

Weights are rounded one after the other. What rounding one of them changes in the output is made up
for by those that are still to be rounded, as far as their inputs are correlated: GPTQ, Frantar et
al. 2022 (arXiv:2210.17323). A shift of the mean is left to bias correction, so covariances stand
here in place of second moments.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tinsmith_export.ir.ops import Conv2D, Convolution, DepthwiseConv2D, Weighted

Floats = NDArray[np.float64]
# Of the places of an image so many are taken at most, and of what they see so many bytes.
_MAX_PLACES, _MAX_BYTES = 2**14, 2**27
# Added to each variance, as a part of their mean: covariances are estimated on few inputs.
_DAMPING = 0.01
# So many weights are rounded before what they changed goes on to all that follow.
_BLOCK = 64


def round_weights(
    node: Weighted, source: Any, scale: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Rounds a layer's weights by the inputs that they meet.

    Args:
        node: its weights are not rounded.
        source: a tensor of what it reads, `float32 (N, …, C)`.
        scale: of each output channel's weights, `float32 (channels,)`.

    Returns:
        The kernel, `float32` in the node's layout, of multiples of `scale`. A channel's largest
        weight has the code that it had, so that the scale stays. `None` where too few inputs were
        given: fewer than a channel has weights.
    """
    groups = _groups(node)
    seen = _seen(node, source, groups)
    if seen.shape[1] < seen.shape[2]:
        return None
    weights = node.kernel.reshape(-1, groups, node.channels // groups).swapaxes(0, 1)
    scales = scale.reshape(groups, -1).astype(np.float64)
    codes = _rounded(weights.astype(np.float64), scales, _covariance(seen))
    kernel = (codes * scales[:, np.newaxis]).swapaxes(0, 1).reshape(node.kernel.shape)
    return kernel.astype(np.float32)


def _groups(node: Weighted) -> int:
    """How many parts the input channels are in, of which an output channel reads one."""
    if isinstance(node, DepthwiseConv2D):
        return int(node.kernel.shape[2])
    return node.groups if isinstance(node, Conv2D) else 1


def _seen(node: Weighted, source: Any, groups: int) -> Any:
    """What the weights of a channel meet, `float32 (groups, places, weights)`."""
    size = node.kernel.shape[:2] if isinstance(node, Convolution) else ()
    taps, channels = int(np.prod(size, dtype=int)), source.shape[-1]
    most = max(1, min(_MAX_PLACES, _MAX_BYTES // (4 * taps * channels)))
    if isinstance(node, Convolution):
        places = source.shape[0] * node.shape[0] * node.shape[1]
        apart = int(np.ceil(np.sqrt(places / most)))
        source = tf.image.extract_patches(
            source,
            (1, *size, 1),
            (1, *(stride * apart for stride in node.strides), 1),
            (1, *node.dilation_rate, 1),
            node.padding.upper(),
        )
    seen = tf.reshape(source, (-1, taps, groups, channels // groups))
    seen = tf.transpose(seen[:: -(-seen.shape[0] // most)], (2, 0, 1, 3))
    return tf.reshape(seen, (groups, seen.shape[1], -1))


def _covariance(seen: Any) -> Floats:
    """Of the weights' inputs, `float64 (groups, weights, weights)`, damped."""
    centred = seen - tf.reduce_mean(seen, axis=1, keepdims=True)
    covariance: Floats = tf.matmul(centred, centred, transpose_a=True).numpy().astype(np.float64)
    covariance /= seen.shape[1]
    variances = np.einsum("gkk->gk", covariance)
    variances += _DAMPING * variances.mean(axis=1, keepdims=True) + 1e-12
    return covariance


def _rounded(weights: Floats, scale: Floats, covariance: Floats) -> Floats:
    """Codes of `(groups, weights, channels)`; `scale` is `(groups, channels)`."""
    # Those whose inputs vary most first: their errors can still be made up for.
    order = np.argsort(-np.einsum("gkk->gk", covariance), axis=1, kind="stable")
    covariance = np.take_along_axis(covariance, order[:, :, np.newaxis], 1)
    covariance = np.take_along_axis(covariance, order[:, np.newaxis], 2)
    factor = np.linalg.cholesky(np.linalg.inv(covariance)).swapaxes(1, 2)
    left = np.take_along_axis(weights, order[:, :, np.newaxis], 1)
    largest = np.abs(left).argmax(axis=1)
    kept = np.round(np.take_along_axis(left, largest[:, np.newaxis], 1)[:, 0] / scale)
    codes = np.empty_like(left)
    for start in range(0, left.shape[1], _BLOCK):
        end = min(start + _BLOCK, left.shape[1])
        errors = np.empty_like(left[:, start:end])
        for k in range(start, end):
            code = np.clip(np.round(left[:, k] / scale), -abs(kept), abs(kept))
            codes[:, k] = code = np.where(largest == k, kept, code)
            error = (left[:, k] - code * scale) / factor[:, k, k, np.newaxis]
            left[:, k + 1 : end] -= factor[:, k, k + 1 : end, np.newaxis] * error[:, np.newaxis]
            errors[:, k - start] = error
        left[:, end:] -= factor[:, start:end, end:].swapaxes(1, 2) @ errors
    found = np.empty_like(codes)
    np.put_along_axis(found, order[:, :, np.newaxis], codes, 1)
    return found
