"""The operators of TensorFlow that are read, each with what reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tinsmith_export.arithmetic import (
    arithmetic,
    batch_norm,
    clip,
    function,
    leaky_relu,
    negate,
)
from tinsmith_export.products import batch_to_space, conv, matmul, space_to_batch, transposed_conv
from tinsmith_export.shapes import concatenate, crop, pad, pool, reduce, reshape, tile, upsample
from tinsmith_export.trace import Operator

if TYPE_CHECKING:
    from tinsmith_export.reader import Reader

# Each adds layers for an operator and gives the name of the last.
READERS: dict[str, Callable[[Reader, Operator], str]] = {
    "Conv2D": conv,
    "DepthwiseConv2dNative": conv,
    "Conv2DBackpropInput": transposed_conv,
    "SpaceToBatchND": space_to_batch,
    "BatchToSpaceND": batch_to_space,
    "MatMul": matmul,
    "BatchMatMulV2": matmul,
    **dict.fromkeys(
        ("BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"), arithmetic
    ),
    "SquaredDifference": arithmetic,
    "Neg": negate,
    "FusedBatchNormV3": batch_norm,
    "Relu": clip(0.0, None),
    "Relu6": clip(0.0, 6.0),
    "LeakyRelu": leaky_relu,
    **{
        kind: function(name)
        for kind, name in {
            "Sigmoid": "sigmoid",
            "Softmax": "softmax",
            "Tanh": "tanh",
            "Elu": "elu",
            "Selu": "selu",
            "Softplus": "softplus",
            "Rsqrt": "rsqrt",
            "Erf": "erf",
            "Erfc": "erfc",
            "Square": "square",
        }.items()
    },
    "MaxPool": pool("MaxPooling2D"),
    "AvgPool": pool("AveragePooling2D"),
    "Mean": reduce,
    "Max": reduce,
    "ConcatV2": concatenate,
    "Pad": pad,
    "PadV2": pad,
    "StridedSlice": crop,
    "Reshape": reshape,
    "Squeeze": reshape,
    "ExpandDims": reshape,
    "ResizeNearestNeighbor": upsample,
    "Tile": tile,
}
