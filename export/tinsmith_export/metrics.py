"""How near outputs are to other outputs: pure functions of arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_report import statistics
from tinsmith_runtime.bundle import Parity


def top1(outputs: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The part of `(N, classes)` outputs whose largest entry is the label."""
    return float((outputs.argmax(1) == labels).mean())


def agreement(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """The part of `(N, classes)` outputs whose largest entries stand in the same place."""
    return float((reference.argmax(1) == other.argmax(1)).mean())


def drop_pp(
    reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64] | None
) -> float:
    """How many percentage points of accuracy `other` loses; without labels, of agreement."""
    if labels is None:
        return 100 * (1 - agreement(reference, other))
    return 100 * (top1(reference, labels) - top1(other, labels))


def mcnemar_p(reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """McNemar's exact test: how likely so uneven a change of right answers is by chance."""
    right, also = (outputs.argmax(1) == labels for outputs in (reference, other))
    return statistics.mcnemar_p(int((right & ~also).sum()), int((~right & also).sum()))


def parity(reference: NDArray[np.int8], other: NDArray[np.int8], classes: bool) -> Parity:
    """Compares two engines' codes, `int8 (N, …)` each; `classes`: whether outputs are logits."""
    difference = np.abs(reference.astype(np.int16) - other)
    return Parity(
        compared=difference.size,
        equal=int((difference == 0).sum()),
        max_difference_lsb=int(difference.max(initial=0)),
        top1_agreement=agreement(reference, other) if classes else None,
    )
