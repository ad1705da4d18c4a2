"""Golden vectors: real inputs whose int8 outputs every engine, anywhere, must give."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from tinsmith_export.errors import ConversionError
from tinsmith_export.outputs import side_by_side
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
        codes: `int8 (N, …)` from the one engine, as many as the model has outputs.
        others: the same from the other, and from what else must give the same, or the first of
            them.
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


def nudged(data: bytes, kept: Sequence[str]) -> Iterator[bytes]:
    """Changes the weights of float layers by less than anyone could tell, but a sum on an edge.

    Another CPU adds float products in another order. An input whose int8 outputs survive this has
    the same outputs there, for all that can be known here.

    Args:
        data: an int8 ONNX file.
        kept: its float layers; without any nothing can differ, and no file is given.

    Returns:
        A file with the weights a little larger, and one with them a little smaller.
    """
    for factor in (1 + _NUDGE, 1 - _NUDGE) if kept else ():
        model = onnx.load_from_string(data)
        for tensor in model.graph.initializer:
            if tensor.name in {f"{name}.weight" for name in kept}:
                weights = numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        yield bytes(model.SerializeToString(deterministic=True))
