"""How close a variant's outputs are to the float model's: with no labels all that can be told."""

import base64
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Closeness, Fidelity, Flip, share_of
from tinsmith_report.statistics import mean_cosine, sqnr_db
from tinsmith_runtime.batch import Array, Arrays, parts

# So many pictures say what flips look like; the number of all is given besides.
MAX_FLIPS = 12
# A picture in a report is no larger: every n-th pixel of a larger one.
MAX_SIDE = 96


def compare_outputs(
    outputs: Arrays,
    reference: Arrays,
    reference_id: str,
    inputs: Arrays,
    labels: NDArray[np.int64] | None,
    *,
    classes: bool,
    names: Sequence[str] = (),
) -> Fidelity:
    """Compares a variant's outputs with the float model's.

    Several outputs may be of any size, so each is compared by itself, and the one that is furthest
    off counts.

    Args:
        outputs: the variant's, `(N, ...)`.
        reference: the float model's of the same inputs.
        reference_id: the float variant's id.
        inputs: raw inputs `(N, ...)`: uint8 ones are shown as pictures where the class changed.
        labels: the class of each sample, if it is known.
        classes: whether the largest output of a sample is its class.
        names: of the outputs, where there are several.
    """
    pairs = [tuple(map(_flat, pair)) for pair in zip(parts(outputs), parts(reference), strict=True)]
    every = [_closeness(name, *pair) for name, pair in zip(names or ("",), pairs, strict=True)]
    worst = min(every, key=lambda one: np.inf if one.sqnr_db is None else one.sqnr_db)
    mine, its = pairs[0]
    now, was = mine.argmax(axis=1), its.argmax(axis=1)
    flipped = np.flatnonzero(now != was) if classes else np.empty(0, np.intp)
    return Fidelity(
        baseline=reference_id,
        agreement=share_of(len(mine) - len(flipped), len(mine)) if classes else None,
        flipped=len(flipped),
        flips=tuple(_flips(flipped, inputs, labels, was, now)),
        mae=worst.mae,
        sqnr_db=worst.sqnr_db,
        cosine=worst.cosine,
        outputs=tuple(every) if names else (),
    )


def _flat(outputs: Array) -> NDArray[np.float64]:
    return outputs.astype(np.float64).reshape(len(outputs), -1)


def _closeness(name: str, mine: NDArray[np.float64], its: NDArray[np.float64]) -> Closeness:
    return Closeness(
        name=name,
        mae=float(np.mean(np.abs(mine - its))),
        sqnr_db=sqnr_db(its, mine),
        cosine=mean_cosine(its, mine),
    )


def _flips(
    flipped: NDArray[np.intp],
    inputs: Arrays,
    labels: NDArray[np.int64] | None,
    was: NDArray[np.intp],
    now: NDArray[np.intp],
) -> Iterator[Flip]:
    images = [array for array in parts(inputs) if array.dtype == np.uint8 and array.ndim == 4]
    for index in map(int, flipped[:MAX_FLIPS]):
        shape: tuple[int, ...] = ()
        pixels = ""
        if images:
            shape, pixels = encoded_picture(images[0][index], MAX_SIDE)
        yield Flip(
            index=index,
            label=None if labels is None else int(labels[index]),
            was=int(was[index]),
            now=int(now[index]),
            shape=shape,
            pixels=pixels,
        )


def encoded_picture(image: Array, max_side: int) -> tuple[tuple[int, ...], str]:
    """Shape and pixels in base64 of an image `(H, W, C)`; of a larger one every n-th pixel."""
    step = -(-max(image.shape[:2]) // max_side)
    picture = np.ascontiguousarray(image[::step, ::step])
    return picture.shape, base64.b64encode(picture.tobytes()).decode()
