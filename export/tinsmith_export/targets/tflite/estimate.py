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

# Bytes, as measured in small files: of the file itself, and of a tensor with its name, its
# shape and the operator that gives it. Each channel of weights and of a bias has a scale (4) and a
# zero point (8).
_FILE, _TENSOR, _CHANNEL = 700, 205, 2 * (4 + 8)


def estimate(model: QuantGraph) -> Estimate:
    """See `Target.estimate`."""
    graph = model.graph
    forms = {node.name: _form(node) for node in graph.layers}
    tensors = len(graph.inputs) + sum(
        len(forms[node.name].operators) + (2 if isinstance(node, Weighted) else 0)
        for node in graph.layers
    )
    structure = _FILE + _TENSOR * tensors
    codes = sum(found.codes.size for found in model.weights.values())
    channels = sum(node.channels for node in graph.weighted)
    int8 = structure + codes + (4 + _CHANNEL) * channels
    return Estimate(forms, int8, structure + 4 * (codes + channels))


def _form(node: Node) -> Form:
    if isinstance(node, Function):
        return FUNCTION_FORMS[node.function]
    if type(node) not in FORMS:
        raise TypeError(f"{node.kind} has no form in TFLite")
    return FORMS[type(node)]
