"""Weights whose sums can overflow the kernels of x86 without VNNI that add products in 16 bits."""

from collections.abc import Iterable

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.quantize.fake_quantization import can_saturate
from tinsmith_export.targets.target import Product


def saturates(product: Product) -> bool:
    """Says whether two int8 weights of a channel, as they are stored, could overflow such a sum."""
    if not product.integer or product.exact:
        return False
    weights = product.weights.astype(np.int16)
    depthwise = product.operator == "DEPTHWISE_CONV_2D"
    channels = weights if depthwise else np.moveaxis(weights, 0, -1)
    return can_saturate(channels.reshape(-1, channels.shape[-1]))


def require_no_saturation(products: Iterable[Product]) -> None:
    """Checks that no x86 kernel can overflow, whatever options ONNX Runtime is given.

    Raises:
        ConversionError: two weights of a channel could make it.
    """
    if names := [product.layer for product in products if saturates(product)]:
        raise ConversionError(f"int8 weights could saturate an x86 kernel: {', '.join(names)}")
