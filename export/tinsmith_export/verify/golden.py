"""Golden vectors: real inputs whose int8 outputs every engine, anywhere, must give."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tinsmith_export.errors import ConversionError
from tinsmith_export.outputs import side_by_side
from tinsmith_export.targets.target import IntegerModel
from tinsmith_runtime.batch import Array, Arrays, count, numbered, parts, rows

COUNT = 32
# More than float32 sums in another order differ by.
_NUDGE = 2.0**-20


def choose_golden(
    inputs: Arrays, codes: Arrays, others: Sequence[Arrays], reals: Arrays
) -> tuple[bytes, int]:
    """Takes the first inputs on which all agree to the bit.

    Args:
        inputs: `uint8 (N, H, W, C)` pixels or `float32 (N, …)` features, as many as there are.
        codes: `int8 (N, …)` of the reference, as many as the model has outputs.
        others: the same of the other targets, and of what else must give the same, or the first
            of them.
        reals: `float32 (N, …)` from the float model.

    Returns:
        The bytes of `golden.npz` and the number of vectors in it.

    Raises:
        ConversionError: the engines agree on no input.
    """
    size = min(map(count, others))
    first, *rest = (side_by_side(rows(found, slice(size))) for found in (codes, *others))
    equal = [(first == other).reshape(size, -1).all(axis=1) for other in rest]
    agreed = np.flatnonzero(np.all(equal, axis=0))[:COUNT]
    if not len(agreed):
        raise ConversionError("the engines agree to the bit on no input: no golden vectors")
    buffer = io.BytesIO()
    kinds = {"inputs": inputs, "outputs_int8": codes, "outputs_float": reals}
    arrays: dict[str, Array] = {}
    for name, batch in kinds.items():
        found = parts(rows(batch, agreed))
        arrays |= zip(numbered(name, len(found)), found, strict=True)
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue(), len(agreed)


def nudged(model: IntegerModel) -> Iterator[IntegerModel]:
    """Changes the weights of float layers by less than anyone could tell, but a sum on an edge.

    Another CPU adds float products in another order. An input whose int8 outputs survive this has
    the same outputs there, for all that can be known here.

    Returns:
        The model with the weights a little larger, and with them a little smaller; without float
        layers nothing can differ, and no model is given.
    """
    quantized = model.quantized
    for factor in (1 + _NUDGE, 1 - _NUDGE) if quantized.kept else ():
        graph = quantized.graph
        for node in quantized.kept:
            graph = graph.replaced(replace(node, kernel=node.kernel * np.float32(factor)))
        yield replace(model, quantized=replace(quantized, graph=graph))
