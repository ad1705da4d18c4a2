"""Which kernels ONNX Runtime runs."""

from collections import Counter
from collections.abc import Collection

import onnx

from tinsmith_export.errors import ConversionError
from tinsmith_runtime.backends.ort import optimized_model

_INTEGER_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger")
FLOAT_KERNELS = (
    "Conv",
    "FusedConv",
    "Gemm",
    "FusedGemm",
    "MatMul",
    "FusedMatMul",
    "ConvTranspose",
)


def require_integer_kernels(
    model: bytes, products: int, kept: Collection[str] = ()
) -> dict[str, int]:
    """Checks that ONNX Runtime, on this machine, multiplies integers in every layer.

    Args:
        model: an int8 ONNX file.
        products: how many layers multiply.
        kept: those of them that must be float.

    Returns:
        Integer kernel to how often it stands in ONNX Runtime's own optimised graph.

    Raises:
        ConversionError: a float kernel is left, named, or a product is missing, or a layer that
            was to be kept float is not.
    """
    graph = onnx.load_from_string(optimized_model(model)).graph
    floats = [node for node in graph.node if node.op_type in FLOAT_KERNELS]
    left = [f"{node.op_type} {node.name}" for node in floats if _layer(node) not in kept]
    if left:
        raise ConversionError(f"ONNX Runtime still multiplies in float: {', '.join(sorted(left))}")
    rounded = sorted(set(kept) - {_layer(node) for node in floats})
    if rounded:
        raise ConversionError(f"ONNX Runtime rounds layers kept float: {', '.join(rounded)}")
    kernels = Counter(node.op_type for node in graph.node if node.op_type in _INTEGER_KERNELS)
    if kernels.total() != products - len(kept):
        raise ConversionError(
            f"ONNX Runtime: expected {products - len(kept)} integer products, found {dict(kernels)}"
        )
    return dict(kernels)


def _layer(node: onnx.NodeProto) -> str:
    """The layer of a float kernel, which computes `LAYER.unrounded`, whatever it became."""
    return node.name.removeprefix(f"{node.op_type}/").rpartition(".unrounded")[0]
