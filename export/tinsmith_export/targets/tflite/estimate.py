"""What a model becomes in a TFLite file, told without TensorFlow's converter."""

from collections.abc import Mapping

from tinsmith_export.ir.ops import (
    Add,
    Clip,
    Concatenate,
    Conv2D,
    Cropping2D,
    DepthToSpace,
    DepthwiseConv2D,
    Function,
    LayerNormalization,
    Maximum,
    MaxPooling2D,
    Multiply,
    Node,
    Reshape,
    UpSampling2D,
    Weigh,
    Weighted,
    ZeroPadding2D,
)
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_export.targets.target import Estimate, Form

FORMS: Mapping[type[Node], Form] = {
    Conv2D: Form(("CONV_2D",), integer=True),
    DepthwiseConv2D: Form(("DEPTHWISE_CONV_2D",), integer=True),
    Add: Form(("ADD",), integer=True),
    Multiply: Form(("MUL",), integer=True),
    Weigh: Form(("MUL",), integer=True),
    Maximum: Form(("MAXIMUM",), integer=True),
    Concatenate: Form(("CONCATENATION",), integer=True),
    Clip: Form(("RELU",), integer=True),
    MaxPooling2D: Form(("MAX_POOL_2D",), integer=True),
    ZeroPadding2D: Form(("PAD",), integer=True),
    Cropping2D: Form(("STRIDED_SLICE",), integer=True),
    UpSampling2D: Form(("RESIZE_NEAREST_NEIGHBOR",), integer=True),
    DepthToSpace: Form(("DEPTH_TO_SPACE",), integer=True),
    Reshape: Form(("RESHAPE",), integer=True),
    LayerNormalization: Form(
        ("MEAN", "SQUARED_DIFFERENCE", "MEAN", "ADD", "RSQRT", "MUL", "MUL", "SUB", "ADD"),
        integer=False,
    ),
}
"""What TensorFlow's converter makes of each class of operator."""
FUNCTION_FORMS: Mapping[str, Form] = {
    "sigmoid": Form(("LOGISTIC",), integer=True),
    "tanh": Form(("TANH",), integer=True),
    "gelu": Form(("GELU",), integer=True),
    "elu": Form(("ELU",), integer=False),
    "softplus": Form(("EXP", "ADD", "LOG"), integer=False),
}

# They have a constant: a shape, amounts, a factor.
_WITH_CONSTANT = (Reshape, ZeroPadding2D, Cropping2D, UpSampling2D, Weigh)
# Bytes, as measured in small files: of the file itself, and of a tensor with its name, its shape
# and the operator that gives it. Names are longer in the int8 file.
_FILE, _INT8_TENSOR, _FLOAT_TENSOR = 700, 205, 165
# Each channel has a bias, and for that and the weights a scale and a zero point.
_CHANNEL = 4 + 2 * (4 + 8)


def estimate(model: QuantGraph) -> Estimate:
    """See `Target.estimate`."""
    graph = model.graph
    forms = {node.name: _form(node) for node in graph.layers}
    tensors = len(graph.inputs) + sum(_tensors(node, forms[node.name]) for node in graph.layers)
    rounded = sum(not form.integer for form in forms.values())
    codes = sum(found.codes.size for found in model.weights.values())
    channels = sum(node.channels for node in graph.weighted)
    int8 = _FILE + _INT8_TENSOR * (tensors + rounded) + codes + _CHANNEL * channels
    return Estimate(forms, int8, _FILE + _FLOAT_TENSOR * tensors + 4 * (codes + channels))


def _tensors(node: Node, form: Form) -> int:
    """How many tensors an operator brings along: what it gives, and its constants."""
    constants = 2 if isinstance(node, Weighted) else isinstance(node, _WITH_CONSTANT)
    return len(form.operators) + constants


def _form(node: Node) -> Form:
    if isinstance(node, Function):
        return FUNCTION_FORMS[node.function]
    if type(node) not in FORMS:
        raise TypeError(f"{node.kind} has no form in TFLite")
    return FORMS[type(node)]
