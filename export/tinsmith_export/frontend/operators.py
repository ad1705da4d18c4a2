"""The operators of TensorFlow that are read, each with what reads it."""

from collections.abc import Callable

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.arithmetic import (
    absolute,
    arithmetic,
    batch_norm,
    clip,
    expm1,
    function,
    leaky_relu,
    log1p,
    negate,
    power,
    softmax,
    square,
)
from tinsmith_export.frontend.channels import is_channels_first, read_channels_first
from tinsmith_export.frontend.choices import above
from tinsmith_export.frontend.deviations import NORMALIZATION, find_normalizations
from tinsmith_export.frontend.embedding import EMBEDDING, embedding, find_embeddings
from tinsmith_export.frontend.gathering import (
    broadcast,
    gather,
    mirror_pad,
    reverse,
    roll,
    stack,
)
from tinsmith_export.frontend.masks import band_part, select
from tinsmith_export.frontend.matrices import einsum, matmul
from tinsmith_export.frontend.moving import (
    depth_to_space,
    plain_slice,
    space_to_depth,
    split,
    strided_slice,
    transpose,
)
from tinsmith_export.frontend.normalization import normalization
from tinsmith_export.frontend.products import (
    batch_to_space,
    conv,
    space_to_batch,
    transposed_conv,
)
from tinsmith_export.frontend.reader import Reader
from tinsmith_export.frontend.resizing import bilinear, nearest
from tinsmith_export.frontend.shapes import (
    concatenate,
    pad,
    pool,
    reduce,
    reshape,
    tile,
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
    "Einsum": einsum,
    "Softmax": softmax,
    **dict.fromkeys(
        ("BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"), arithmetic
    ),
    "SquaredDifference": arithmetic,
    "Neg": negate,
    NORMALIZATION: normalization,
    EMBEDDING: embedding,
    "Greater": above,
    "SelectV2": select,
    "Abs": absolute,
    "Square": square,
    "Pow": power,
    "Log1p": log1p,
    "Expm1": expm1,
    "MatrixBandPart": band_part,
    "Pack": stack,
    "FusedBatchNormV3": batch_norm,
    "Relu": clip(0.0, None),
    "Relu6": clip(0.0, 6.0),
    "LeakyRelu": leaky_relu,
    **{
        kind: function(name)
        for kind, name in {
            "Sigmoid": "sigmoid",
            "Tanh": "tanh",
            "Elu": "elu",
            "Selu": "selu",
            "Softsign": "softsign",
            "Exp": "exp",
            "Log": "log",
            "Sqrt": "sqrt",
            "Reciprocal": "reciprocal",
            "Softplus": "softplus",
            "Rsqrt": "rsqrt",
            "Erf": "erf",
            "Erfc": "erfc",
        }.items()
    },
    "MaxPool": pool(MaxPooling2D),
    "AvgPool": pool(AveragePooling2D),
    "Mean": reduce,
    "Max": reduce,
    "Min": reduce,
    "Sum": reduce,
    "ConcatV2": concatenate,
    "Pad": pad,
    "PadV2": pad,
    "StridedSlice": strided_slice,
    "Slice": plain_slice,
    "Split": split,
    "SplitV": split,
    "Unpack": split,
    "Reshape": reshape,
    "Squeeze": reshape,
    "ExpandDims": reshape,
    "ResizeNearestNeighbor": nearest,
    "ResizeBilinear": bilinear,
    "Tile": tile,
    "Transpose": transpose,
    "MirrorPad": mirror_pad,
    "GatherV2": gather,
    "Roll": roll,
    "ReverseV2": reverse,
    "BroadcastTo": broadcast,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
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
    trace = find_normalizations(find_embeddings(trace))
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
    if (reason := reader.refusal(operator)) is not None:
        return reader.refuse(operator, reason)
    try:
        read = READERS.get(operator.kind)
        if read is None:
            raise reader.unsupported(operator, f"TensorFlow's operator {operator.kind}")
        if is_channels_first(operator):
            return read_channels_first(reader, operator, read)
        return read(reader, operator)
    except UnsupportedLayerError as error:
        return reader.refuse(operator, str(error))
