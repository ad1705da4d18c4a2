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


def answers_changed(
    reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64] | None
) -> tuple[int, int]:
    """How many of `(N, classes)` outputs only the reference has right, and how many only `other`.

    Without labels the reference is right: how many answers differ, and 0.
    """
    answers, others = reference.argmax(1), other.argmax(1)
    truth = answers if labels is None else labels
    right, also = answers == truth, others == truth
    return int((right & ~also).sum()), int((~right & also).sum())


def mcnemar_p(reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """McNemar's exact test: how likely so uneven a change of right answers is by chance."""
    return statistics.mcnemar_p(*answers_changed(reference, other, labels))


def parity(reference: NDArray[np.int8], other: NDArray[np.int8], classes: bool) -> Parity:
    """Compares two engines' codes, `int8 (N, …)` each; `classes`: whether outputs are logits."""
    difference = np.abs(reference.astype(np.int16) - other)
    return Parity(
        compared=difference.size,
        equal=int((difference == 0).sum()),
        max_difference_lsb=int(difference.max(initial=0)),
        top1_agreement=agreement(reference, other) if classes else None,
    )
