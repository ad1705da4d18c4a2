"""The proof: what runs is integer, the engines agree, and this is what it costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError, GateError
from tinsmith_export.quantize import can_saturate
from tinsmith_export.tflite import Product
from tinsmith_runtime.backends import Backend
from tinsmith_runtime.backends.ort import optimized_model
from tinsmith_runtime.manifest import Parity, Rung

_INTEGER_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger")
_FLOAT_KERNELS = (
    "Conv",
    "FusedConv",
    "Gemm",
    "FusedGemm",
    "MatMul",
    "FusedMatMul",
    "ConvTranspose",
)
_BATCH_SIZE = 64


def require_integer_kernels(model: bytes, products: int) -> dict[str, int]:
    """Checks that ONNX Runtime, on this machine, multiplies integers in every layer.

    Args:
        model: an int8 ONNX file.
        products: how many layers multiply.

    Returns:
        Integer kernel to how often it stands in ONNX Runtime's own optimised graph.

    Raises:
        ConversionError: a float kernel is left, named, or a product is missing.
    """
    graph = onnx.load_from_string(optimized_model(model)).graph
    floats = [
        f"{node.op_type} {node.name}" for node in graph.node if node.op_type in _FLOAT_KERNELS
    ]
    if floats:
        raise ConversionError(f"ONNX Runtime still multiplies in float: {', '.join(floats)}")
    kernels = Counter(node.op_type for node in graph.node if node.op_type in _INTEGER_KERNELS)
    if kernels.total() != products:
        raise ConversionError(
            f"ONNX Runtime: expected {products} integer products, found {dict(kernels)}"
        )
    return dict(kernels)


def require_no_saturation(products: Sequence[Product]) -> None:
    """Checks the int8 weights as they are stored: no x86 kernel can overflow on them.

    Raises:
        ConversionError: two weights of a channel could.
    """
    for product in products:
        weights = product.weights.astype(np.int16)
        exact = product.operator == "DEPTHWISE_CONV_2D"
        if not exact and can_saturate(weights.reshape(len(weights), -1).T):
            raise ConversionError(f"{product.name}: int8 weights could saturate an x86 kernel")


def to_codes(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What an int8 engine takes for pixels: `int8 = pixel - 128`, shape as it is."""
    return (pixels ^ np.uint8(0x80)).view(np.int8)


def run_batches(backend: Backend, inputs: NDArray[Any]) -> NDArray[Any]:
    """Runs an engine over any number of inputs.

    Args:
        backend: int8 or float.
        inputs: `(N, H, W, C)` of its input's dtype.

    Returns:
        `(N, classes)` of its output's dtype.
    """
    starts = range(0, len(inputs), _BATCH_SIZE)
    return np.concatenate([backend.run(inputs[start : start + _BATCH_SIZE]) for start in starts])


def top1(outputs: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The part of `(N, classes)` outputs whose largest entry is the label."""
    return float((outputs.argmax(1) == labels).mean())


def measure_parity(reference: NDArray[np.int8], other: NDArray[np.int8]) -> Parity:
    """Compares two engines' outputs, `int8 (N, classes)` each."""
    difference = np.abs(reference.astype(np.int16) - other)
    return Parity(
        compared=difference.size,
        equal=int((difference == 0).sum()),
        max_difference_lsb=int(difference.max(initial=0)),
        top1_agreement=float((reference.argmax(1) == other.argmax(1)).mean()),
    )


def climb(outputs: Mapping[str, NDArray[Any]], labels: NDArray[np.int64]) -> tuple[Rung, ...]:
    """Makes the accuracy ladder.

    Args:
        outputs: stage to `(N, classes)`, anything whose largest entry is the answer.
        labels: `int64 (N,)`.
    """
    return tuple(Rung(stage, top1(found, labels), len(labels)) for stage, found in outputs.items())


def hold_gates(ladder: Sequence[Rung], parity: Parity, max_drop_pp: float) -> None:
    """Lets a model through that kept its accuracy and computes the same everywhere.

    Args:
        ladder: the float model first; the last two are the int8 files.
        parity: between the two.
        max_drop_pp: how many percentage points of accuracy int8 may lose.

    Raises:
        GateError: it did not.
    """
    for rung in ladder[-2:]:
        # 99.5 % - 99 % is a little more than 0.5 points in floats: the limit itself must pass.
        drop_pp = round((ladder[0].accuracy - rung.accuracy) * 100, 9)
        if drop_pp > max_drop_pp:
            raise GateError(
                f"{rung.stage} loses {drop_pp:.2f} points against float, more than "
                f"--max-drop-pp {max_drop_pp:g}: no bundle written; try more --qat-epochs"
            )
    if parity.max_difference_lsb > 1:
        raise GateError(
            f"TFLite and ONNX differ by {parity.max_difference_lsb} LSB, more than 1: "
            "no bundle written"
        )
