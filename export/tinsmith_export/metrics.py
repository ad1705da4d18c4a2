"""How near outputs are to other outputs: pure functions of arrays."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.bundle import Parity


def top1(outputs: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The part of `(N, classes)` outputs whose largest entry is the label."""
    return float((outputs.argmax(1) == labels).mean())


def agreement(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """The part of `(N, classes)` outputs whose largest entries stand in the same place."""
    return float((reference.argmax(1) == other.argmax(1)).mean())


def sqnr_db(reference: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Signal to quantization noise in dB: the power of `reference` over that of the difference.

    `None` where there is no difference.
    """
    reference = np.asarray(reference, np.float64)
    noise = float(np.square(reference - other).sum())
    return decibels(float(np.square(reference).sum()), noise)


def decibels(signal: float, noise: float) -> float | None:
    """The ratio of two powers in dB; `None` where one is zero."""
    return 10 * math.log10(signal / noise) if noise and signal else None


def drop_pp(
    reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64] | None
) -> float:
    """How many percentage points of accuracy `other` loses; without labels, of agreement."""
    if labels is None:
        return 100 * (1 - agreement(reference, other))
    return 100 * (top1(reference, labels) - top1(other, labels))


def cosine(reference: NDArray[Any], other: NDArray[Any]) -> float | None:
    """The cosine of the angle between all outputs as one vector; `None` where one is zero."""
    a, b = (np.asarray(v, np.float64).ravel() for v in (reference, other))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else None


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927)."""
    z = 1.959963984540054
    p, n = successes / count, count
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def mcnemar_p(reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """McNemar's exact test: how likely so uneven a change of right answers is by chance.

    Two-sided binomial on the samples that one of two models answers rightly (McNemar 1947).
    """
    right, also = (outputs.argmax(1) == labels for outputs in (reference, other))
    lost, won = int((right & ~also).sum()), int((~right & also).sum())
    changed = lost + won
    tail = sum(math.comb(changed, k) for k in range(min(lost, won) + 1))
    return min(1.0, float(2 * tail / 2**changed)) if changed else 1.0


def parity(reference: NDArray[np.int8], other: NDArray[np.int8], classes: bool) -> Parity:
    """Compares two engines' codes, `int8 (N, …)` each; `classes`: whether outputs are logits."""
    difference = np.abs(reference.astype(np.int16) - other)
    return Parity(
        compared=difference.size,
        equal=int((difference == 0).sum()),
        max_difference_lsb=int(difference.max(initial=0)),
        top1_agreement=agreement(reference, other) if classes else None,
    )
