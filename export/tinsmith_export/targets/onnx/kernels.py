"""Which kernels ONNX Runtime runs."""

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
from onnx import numpy_helper

from tinsmith_export.errors import ConversionError
from tinsmith_export.targets.onnx.session import optimized_model
from tinsmith_runtime.backends.ort import saturates

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


# Two of them times 255 fit in 16 bits.
_MAX_WEIGHT = 64


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
            was to be kept float is not, or a kernel could overflow on this machine.
    """
    graph = onnx.load_from_string(optimized_model(model)).graph
    floats = [node for node in graph.node if node.op_type in FLOAT_KERNELS]
    left = [f"{node.op_type} {node.name}" for node in floats if _layer(node) not in kept]
    if left:
        raise ConversionError(f"ONNX Runtime still multiplies in float: {', '.join(sorted(left))}")
    rounded = sorted(set(kept) - {_layer(node) for node in floats})
    if rounded:
        raise ConversionError(f"ONNX Runtime rounds layers kept float: {', '.join(rounded)}")
    _require_exact(graph)
    kernels = Counter(node.op_type for node in graph.node if node.op_type in _INTEGER_KERNELS)
    if kernels.total() != products - len(kept):
        raise ConversionError(
            f"ONNX Runtime: expected {products - len(kept)} integer products, found {dict(kernels)}"
        )
    return dict(kernels)


def _require_exact(graph: onnx.GraphProto) -> None:
    """Checks that no product is left that could overflow on this machine.

    Where kernels for int8 weights add two products in 16 bits, `session_options` has ONNX Runtime
    store weights as uint8 in all tensors that reach beyond 64.
    """
    if not saturates():
        return
    large = {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
        and np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0) > _MAX_WEIGHT
    }
    products = [node for node in graph.node if node.op_type in _INTEGER_KERNELS]
    if left := [node.name for node in products if large.intersection(node.input)]:
        raise ConversionError(
            f"ONNX Runtime: int8 weights beyond {_MAX_WEIGHT} could overflow on this CPU in "
            f"{', '.join(left)}"
        )


def _layer(node: onnx.NodeProto) -> str:
    """The layer of a float kernel, which computes `LAYER.unrounded`, whatever it became.

    Its own name tells, or that of its output where a ReLU became part of it.
    """
    names = node.name.removeprefix(f"{node.op_type}/"), node.output[0]
    return next((name.rpartition(".unrounded")[0] for name in names if ".unrounded" in name), "")
