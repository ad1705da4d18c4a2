"""What a model becomes in a TFLite file, told without TensorFlow's converter."""

from collections.abc import Mapping

from tinsmith_export.ir.attention import MatMul, Softmax
from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.normalization import GroupNormalization, LayerNormalization
from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Concatenate,
    Conv2D,
    DepthToSpace,
    DepthwiseConv2D,
    Function,
    Maximum,
    MaxPooling2D,
    Minimum,
    Multiply,
    Node,
    Reshape,
    UpSampling2D,
    Weigh,
    ZeroPadding2D,
)
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.target import Estimate, Form

_NORMALIZED = Form(
    ("MEAN", "SQUARED_DIFFERENCE", "MEAN", "SUB", "ADD", "RSQRT", "MUL", "MUL", "ADD"),
    integer=False,
)
FORMS: Mapping[type[Node], Form] = {
    Conv2D: Form(("CONV_2D",), integer=True),
    DepthwiseConv2D: Form(("DEPTHWISE_CONV_2D",), integer=True),
    Add: Form(("ADD",), integer=True),
    Multiply: Form(("MUL",), integer=True),
    Weigh: Form(("MUL",), integer=True),
    Maximum: Form(("MAXIMUM",), integer=True),
    Minimum: Form(("MINIMUM",), integer=True),
    Concatenate: Form(("CONCATENATION",), integer=True),
    Clip: Form(("RELU",), integer=True),
    MaxPooling2D: Form(("MAX_POOL_2D",), integer=True),
    ZeroPadding2D: Form(("PAD",), integer=True),
    Slice: Form(("STRIDED_SLICE",), integer=True),
    Gather: Form(("GATHER",), integer=True),
    Transpose: Form(("TRANSPOSE",), integer=True),
    MatMul: Form(("BATCH_MATMUL",), integer=True),
    Softmax: Form(("SOFTMAX",), integer=True),
    UpSampling2D: Form(("RESIZE_NEAREST_NEIGHBOR",), integer=True),
    DepthToSpace: Form(("DEPTH_TO_SPACE",), integer=True),
    Reshape: Form(("RESHAPE",), integer=True),
    LayerNormalization: _NORMALIZED,
    GroupNormalization: _NORMALIZED,
    Embedding: Form(("MUL", "SUM", "CAST", "MINIMUM", "GATHER"), integer=False),
}
"""What TensorFlow's converter makes of each class of operator."""
FUNCTION_FORMS: Mapping[str, Form] = {
    "sigmoid": Form(("LOGISTIC",), integer=True),
    "tanh": Form(("TANH",), integer=True),
    "gelu": Form(("GELU",), integer=True),
    "exp": Form(("EXP",), integer=True),
    "elu": Form(("ELU",), integer=False),
    "selu": Form(("NEG", "RELU", "NEG", "ELU", "MUL", "RELU", "ADD", "MUL"), integer=False),
    "softplus": Form(("EXP", "ADD", "LOG"), integer=False),
    "softsign": Form(("ABS", "ADD", "DIV"), integer=False),
    "log": Form(("RELU", "ADD", "LOG"), integer=False),
    "sqrt": Form(("RELU", "SQRT"), integer=False),
    "rsqrt": Form(("RELU", "ADD", "RSQRT"), integer=False),
    "reciprocal": Form(("POW",), integer=False),
    "thresholded": Form(("SUB", "SIGN", "MUL"), integer=False),
}
_SCALED_ELU = Form(("NEG", "RELU", "NEG", "ELU", "MUL", "RELU", "ADD"), integer=False)
"""An ELU whose alpha is not 1."""

# They have a constant: amounts, places, a factor; a slice has two. Reshapes to one shape share
# theirs.
_WITH_CONSTANT = (ZeroPadding2D, Slice, Gather, Transpose, UpSampling2D, Weigh)
# Bytes, as measured in small files: of the file itself, and of a tensor with its name, its shape
# and the operator that gives it. Names are longer in the int8 file.
_FILE, _INT8_TENSOR, _FLOAT_TENSOR = 700, 205, 165
# Each channel has a bias, and for that and the weights a scale and a zero point.
_CHANNEL = 4 + 2 * (4 + 8)


def estimate(model: QuantGraph, graph: Graph) -> Estimate:
    """See `Target.estimate`."""
    forms = {node.name: _form(node) for node in model.graph.layers}
    rounded = sum(not form.integer for form in forms.values())
    tensors, numbers, channels = _stored(model.graph)
    int8 = _FILE + _INT8_TENSOR * (tensors + rounded) + numbers + _CHANNEL * channels
    tensors, numbers, channels = _stored(graph)
    return Estimate(forms, int8, _FILE + _FLOAT_TENSOR * tensors + 4 * (numbers + channels))


def _stored(graph: Graph) -> tuple[int, int, int]:
    """How many tensors a file of a graph has, numbers that layers multiply by, and channels."""
    # Of products that share their weights one.
    weighted = {node.shared or node.name: node for node in graph.weighted}.values()
    tensors = len(graph.inputs) + 2 * len(weighted)
    tensors += len({node.shape for node in graph.layers if isinstance(node, Reshape)})
    numbers = sum(node.kernel.size for node in weighted)
    for node in graph.layers:
        tensors += len(_form(node).operators) + isinstance(node, _WITH_CONSTANT)
        tensors += isinstance(node, Slice)
        numbers += node.factor.size if isinstance(node, Weigh) else 0
        numbers += node.table.size if isinstance(node, Embedding) else 0
    return tensors, numbers, sum(node.channels for node in weighted)


def _form(node: Node) -> Form:
    if isinstance(node, Function):
        scaled = node.function == "elu" and node.parameter != 1
        return _SCALED_ELU if scaled else FUNCTION_FORMS[node.function]
    if type(node) not in FORMS:
        raise TypeError(f"{node.kind} has no form in TFLite")
    return FORMS[type(node)]
