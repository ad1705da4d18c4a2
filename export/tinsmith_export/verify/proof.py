"""The proof: what runs is integer, the engines agree, and this is what it costs."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from tinsmith_export.errors import ConversionError, GateError
from tinsmith_export.metrics import agreement, cosine, sqnr_db, top1
from tinsmith_export.outputs import leveled, side_by_side
from tinsmith_export.quantize.fake_quantization import can_saturate
from tinsmith_export.targets.tflite import Product
from tinsmith_runtime.backends.ort import optimized_model
from tinsmith_runtime.batch import Arrays, count, joined, parts
from tinsmith_runtime.bundle import Parity, Rung
from tinsmith_runtime.executor import ACTIVATIONS

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


def require_no_saturation(products: Sequence[Product]) -> None:
    """Checks the int8 weights as they are stored: no x86 kernel can overflow on them.

    Raises:
        ConversionError: two weights of a channel could.
    """
    for product in products:
        weights = product.weights.astype(np.int16)
        depthwise = product.operator == "DEPTHWISE_CONV_2D"
        channels = weights if depthwise else np.moveaxis(weights, 0, -1)
        if (
            product.integer
            and not product.exact
            and can_saturate(channels.reshape(-1, channels.shape[-1]))
        ):
            raise ConversionError(f"{product.layer}: int8 weights could saturate an x86 kernel")


def climb(
    expected: Arrays,
    stages: Mapping[str, Arrays],
    activations: Sequence[str],
    labels: NDArray[np.int64] | None,
    classes: bool,
) -> tuple[Rung, ...]:
    """Makes the accuracy ladder.

    Args:
        expected: what the Keras model gives, `(N, …)` for each output.
        stages: stage to outputs before the activation, the rewritten model's first. This one is
            compared with the Keras model, the others, whose outputs are rounded, with this one.
        activations: what makes the Keras model's outputs of the rewritten one's.
        labels: `int64 (N,)`, where there are some.
        classes: whether the one output is logits of classes. SQNR and cosine of several are of all
            side by side, each measured by its own spread.
    """
    answers, size = side_by_side(expected), count(expected)
    accuracy = None if labels is None else top1(answers, labels)
    rungs = [Rung("float", size, accuracy, 1.0 if classes else None, None, 1.0)]
    logits = next(iter(stages.values()))
    for stage, found in stages.items():
        pair = (logits, found)
        if found is logits:
            pair = (expected, activated(logits, activations))
        reference, other = (leveled(outputs, pair[0]) for outputs in pair)
        rungs.append(
            Rung(
                stage,
                size,
                None if labels is None else top1(side_by_side(found), labels),
                agreement(answers, side_by_side(found)) if classes else None,
                sqnr_db(reference, other),
                cosine(reference, other),
            )
        )
    return tuple(rungs)


def activated(outputs: Arrays, activations: Sequence[str]) -> Arrays:
    """The Keras model's outputs, made of the rewritten one's."""
    found = zip(activations, parts(outputs), strict=True)
    return joined([ACTIVATIONS[name](output) for name, output in found])


def hold_gates(
    ladder: Sequence[Rung],
    parities: Sequence[Parity],
    max_drop_pp: float,
    kept: Collection[str] = (),
) -> None:
    """Lets a model through that kept its accuracy and computes the same everywhere.

    Without labels, an answer that is not the float model's counts as lost. The engines may differ
    by 1 LSB: at the outputs, or in a layer that is kept float. Its sums differ in their last bits,
    so that a code on the edge is rounded either way, and integer layers behind carry that on.

    Args:
        ladder: the float model first; the last two are the int8 files.
        parities: between the two.
        max_drop_pp: how many percentage points of accuracy int8 may lose.
        kept: the layers that are kept float.

    Raises:
        GateError: it did not.
    """
    for rung in ladder[-2:]:
        if rung.accuracy is not None and ladder[0].accuracy is not None:
            drop, what = ladder[0].accuracy - rung.accuracy, "loses {} points against float"
        elif rung.agreement is not None:
            drop, what = 1 - rung.agreement, "answers {} % of the inputs otherwise than float"
        else:
            continue
        # 99.5 % - 99 % is a little more than 0.5 points in floats: the limit itself must pass.
        drop_pp = round(drop * 100, 9)
        if drop_pp > max_drop_pp:
            raise GateError(
                f"{rung.stage} {what.format(f'{drop_pp:.2f}')}, more than --max-drop-pp "
                f"{max_drop_pp:g}: no bundle written; try --recipe qat with more --qat-steps, or "
                "--keep-float"
            )
    for parity in parities:
        lsb = parity.enters_lsb if parity.enters_at in kept else parity.max_difference_lsb
        if (lsb or 0) > 1:
            enters = f", from layer `{parity.enters_at}` on" if parity.enters_at else ""
            raise GateError(
                f"TFLite and ONNX differ by {parity.max_difference_lsb} LSB, more than 1{enters}: "
                "no bundle written"
            )
