"""The operators of TensorFlow that are read, each with what reads it."""

from collections.abc import Callable

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.arithmetic import (
    arithmetic,
    batch_norm,
    clip,
    function,
    leaky_relu,
    negate,
)
from tinsmith_export.frontend.products import (
    batch_to_space,
    conv,
    matmul,
    space_to_batch,
    transposed_conv,
)
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.shapes import (
    concatenate,
    crop,
    pad,
    pool,
    reduce,
    reshape,
    tile,
    upsample,
)
from tinsmith_export.frontend.trace import Operator, Trace
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import AveragePooling2D, MaxPooling2D, Node
from tinsmith_runtime.errors import TinsmithError

# Each adds nodes for an operator and gives the last.
READERS: dict[str, Callable[[Reader, Operator], Node]] = {
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
    "MaxPool": pool(MaxPooling2D),
    "AvgPool": pool(AveragePooling2D),
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

# Operators that only a quantized model has.
ROUNDINGS = (
    *("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
    *("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"),
)


def read_graph(trace: Trace) -> Graph:
    """Reads what a model computes; nothing is left out and nothing changed.

    What cannot be compiled is a `Refused` node: `rewrite` refuses all of them at once.

    Args:
        trace: of a model whose inputs are images, `(H, W, C)`, or features.

    Raises:
        TinsmithError: the model holds weights that are not finite, or an input or an output that
            has nothing to do with the others.
    """
    reader = Reader(trace)
    for operator in trace.operators:
        if operator.kind in ROUNDINGS:
            raise TinsmithError(
                f"layer `{operator.layer}` rounds already (TensorFlow's {operator.kind}): the "
                "model is quantized; give the float model that it was made of"
            )
        reader.names[operator.output] = _read(reader, operator).name
    return Graph((*reader.nodes.values(), *reader.outputs())).pruned()


def _read(reader: Reader, operator: Operator) -> Node:
    """Reads an operator, or notes why it cannot be compiled."""
    if reader.follows_refused(operator):
        return reader.refuse(operator)
    try:
        read = READERS.get(operator.kind)
        if read is None:
            raise reader.unsupported(operator, f"TensorFlow's operator {operator.kind}")
        return read(reader, operator)
    except UnsupportedLayerError as error:
        return reader.refuse(operator, str(error))
