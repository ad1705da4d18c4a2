"""How close a variant's outputs are to the float model's: with no labels all that can be told."""

import base64
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.estimate import wilson
from tinsmith_bench.report import Fidelity, Flip
from tinsmith_runtime.batch import Array

# So many pictures say what flips look like; the number of all is given besides.
MAX_FLIPS = 12
# A picture in a report is no larger: every n-th pixel of a larger one.
MAX_SIDE = 96


def compare_outputs(
    outputs: NDArray[np.float32],
    reference: NDArray[np.float32],
    baseline: str,
    inputs: Array,
    labels: NDArray[np.int64] | None,
    *,
    classes: bool,
) -> Fidelity:
    """Compares a variant's outputs with the float model's.

    SQNR is 10 log10 of the float outputs' power over the power of the difference.

    Args:
        outputs: the variant's, `(N, ...)`.
        reference: the float model's of the same inputs.
        baseline: the float variant's id.
        inputs: raw inputs `(N, ...)`: uint8 ones are shown as pictures where the class changed.
        labels: the class of each sample, if it is known.
        classes: whether the largest output of a sample is its class.
    """
    mine, its = (array.astype(np.float64).reshape(len(array), -1) for array in (outputs, reference))
    noise = float(np.mean((mine - its) ** 2))
    power = float(np.mean(its**2))
    now, was = mine.argmax(axis=1), its.argmax(axis=1)
    flipped = np.flatnonzero(now != was) if classes else np.empty(0, np.intp)
    return Fidelity(
        baseline=baseline,
        agreement=wilson(len(mine) - len(flipped), len(mine)) if classes else None,
        flipped=len(flipped),
        flips=tuple(_flips(flipped, inputs, labels, was, now)),
        mae=float(np.mean(np.abs(mine - its))),
        sqnr_db=10 * float(np.log10(power / noise)) if noise and power else None,
        cosine=_cosine(mine, its),
    )


def _cosine(mine: NDArray[np.float64], its: NDArray[np.float64]) -> float:
    """Mean over the samples; a sample that is 0 on both sides is the same on both."""
    lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(its, axis=1)
    dots = np.sum(mine * its, axis=1)
    both_zero = ~mine.any(axis=1) & ~its.any(axis=1)
    cosines = np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1), both_zero)
    return float(np.mean(cosines))


def _flips(
    flipped: NDArray[np.intp],
    inputs: Array,
    labels: NDArray[np.int64] | None,
    was: NDArray[np.intp],
    now: NDArray[np.intp],
) -> Iterator[Flip]:
    for index in map(int, flipped[:MAX_FLIPS]):
        shape: tuple[int, ...] = ()
        pixels = b""
        if inputs.dtype == np.uint8 and inputs.ndim == 4:
            step = -(-max(inputs.shape[1:3]) // MAX_SIDE)
            picture = np.ascontiguousarray(inputs[index, ::step, ::step])
            shape, pixels = picture.shape, picture.tobytes()
        yield Flip(
            index=index,
            label=None if labels is None else int(labels[index]),
            was=int(was[index]),
            now=int(now[index]),
            shape=shape,
            pixels=base64.b64encode(pixels).decode(),
        )
