"""The proof of every sum and product of two tensors, over all 65,536 pairs of codes."""

from collections.abc import Mapping

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret import Operands, compute
from tinsmith_export.ir.ops import Add, Multiply
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fractions import PRODUCT_ERROR, sum_error

_CODES = np.arange(-128, 128).astype(np.int8)
_ONE, _OTHER = (codes.ravel() for codes in np.meshgrid(_CODES, _CODES, indexing="ij"))


def require_exact_pairs(graph: Graph, params: Mapping[str, QuantParams]) -> None:
    """Checks that engines cannot differ on a sum or a product.

    For every pair of codes, the sum or product of the real numbers that they stand for must be
    further from the middle between two codes of the output than any engine's arithmetic is wrong.
    The interpreter must give the nearest code.

    Args:
        graph: the layers.
        params: the quantization parameters of each, by its name.

    Raises:
        ConversionError: a pair is too close, or the interpreter gives another code.
    """
    for node in graph.nodes:
        if isinstance(node, Add | Multiply):
            one, other = (params[name] for name in node.inputs)
            if wrong := inexact_pairs(node, one, other, params[node.name]):
                raise ConversionError(
                    f"layer `{node.name}`: engines may differ on {wrong} of {_ONE.size} pairs of "
                    f"codes, with scales {one.scale:.9g}, {other.scale:.9g} and "
                    f"{params[node.name].scale:.9g}"
                )


def inexact_pairs(
    node: Add | Multiply, one: QuantParams, other: QuantParams, output: QuantParams
) -> int:
    """Counts the pairs of codes on which engines may differ.

    Args:
        node: what computes a sum or a product of two tensors.
        one: what the codes of one stand for.
        other: what those of the other stand for.
        output: what those of the result stand for.
    """
    first, second = _ONE - float(one.zero_point), _OTHER - float(other.zero_point)
    # Scales are float32, and codes small: in float64 all of this is right to 13 digits.
    if isinstance(node, Add):
        ratios = one.scale / output.scale, other.scale / output.scale
        exact = first * ratios[0] + second * ratios[1]
        error = float(sum_error(*ratios))
    else:
        exact = first * second * (one.scale * other.scale / output.scale)
        error = PRODUCT_ERROR
    exact += output.zero_point
    close = np.abs(exact - np.floor(exact) - 0.5) <= error
    found = compute(node, Operands((_ONE, _OTHER), (one, other), output, None))
    differs = found != np.clip(np.rint(exact), -128, 127)
    return int(np.count_nonzero((close & (exact > -129) & (exact < 128)) | differs))
