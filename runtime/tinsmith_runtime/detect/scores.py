"""Which candidates are probable enough, and for which label."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.bundle import BoxHead

MAX_PAIRS = 4096
"""How many pairs of candidate and label are decoded and compared, the most probable ones."""

_ROUNDING = 1e-3  # more than float32 loses on the way from a score to a probability and back
_MAX_LOGIT = 16.0  # float32 has no probability between that of this and 1


@dataclass(frozen=True)
class Pairs:
    """Candidates with a label, the most probable first; equal ones in the order of the rows.

    `rows`, `classes` and `probabilities` are `(N,)`.
    """

    rows: NDArray[np.intp]
    classes: NDArray[np.intp]
    probabilities: NDArray[np.float32]


def select(
    head: BoxHead,
    scores: NDArray[np.float32],
    objectness: NDArray[np.float32] | None,
    limit: float,
) -> Pairs:
    """Chooses the pairs of candidate and label that are at least as probable as `limit`.

    Scores are compared as the model gives them: probabilities are computed of the few that are
    left. What is not a number is left out.

    Args:
        head: of the detector.
        scores: `(candidates, labels)`, or one more for the background.
        objectness: `(candidates,)`, or `None`.
        limit: 0 to 1.

    Returns:
        `MAX_PAIRS` at most.
    """
    geometric = head.objectness_mean == "geometric"
    # What a score must be at least, if the objectness is 1, and the other way round.
    floor = limit**2 if geometric and objectness is not None else limit
    rows, factors = None, None
    if objectness is not None:
        factors = objectness if head.activation == "none" else sigmoid(objectness)
        rows = np.flatnonzero(factors >= floor)
        scores = scores[rows]
    first = int(head.background == "first")
    last = first + len(head.labels)
    if head.activation == "softmax":
        likely = _likely(head, scores, first, last, floor)
        rows = likely if rows is None else rows[likely]
        scores = _softmax(scores[likely])
    least = _logit(floor) - _ROUNDING if head.activation == "sigmoid" else floor
    values = scores[:, first:last].ravel()
    places = np.flatnonzero(values >= least)
    found = values[places]
    if head.activation == "sigmoid":
        found = sigmoid(found)
    within, classes = np.divmod(places, len(head.labels))
    rows = within if rows is None else rows[within]
    if factors is not None:
        found = found * factors[rows]
        found = np.sqrt(found) if geometric else found
    # A model's own probabilities may be a little more than 1.
    return _best(Pairs(rows, classes, np.minimum(found, 1)), limit)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Computes probabilities; tanh does not overflow, 1 / (1 + exp(-x)) does."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _likely(
    head: BoxHead, scores: NDArray[np.float32], first: int, last: int, floor: float
) -> NDArray[np.intp]:
    """The rows where a label can reach `floor` in the softmax: it must beat the background."""
    if head.background == "none":
        return np.arange(len(scores))
    background = scores[:, 0 if first else -1]
    ahead = scores[:, first:last].max(axis=1) - background
    return np.flatnonzero(ahead >= _logit(floor) - _ROUNDING)


def _logit(probability: float) -> float:
    if probability in (0, 1):
        return -math.inf if probability == 0 else _MAX_LOGIT
    return min(math.log(probability / (1 - probability)), _MAX_LOGIT)


def _best(pairs: Pairs, limit: float) -> Pairs:
    """The pairs that reach the limit, `MAX_PAIRS` at most, sorted."""
    found = pairs.probabilities
    kept = np.flatnonzero(found >= limit)
    if len(kept) > MAX_PAIRS:
        least = np.partition(found[kept], -MAX_PAIRS)[-MAX_PAIRS]
        kept = np.concatenate([kept[found[kept] > least], kept[found[kept] == least]])[:MAX_PAIRS]
    order = kept[np.argsort(-found[kept], kind="stable")]
    return Pairs(pairs.rows[order], pairs.classes[order], found[order])
